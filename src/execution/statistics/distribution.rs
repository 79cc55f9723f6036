//! From sorted sampled values to what pg_statistic has of them: common values, a histogram, a correlation. Knows nothing of PostgreSQL.

/// Most common values, and bounds of the histogram less one.
const TARGET: usize = 100;

/// A sampled value.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    /// How many values it stands for.
    pub weight: f64,
    /// What comes before it in the table counts as much.
    pub position: f64,
    /// Whether it equals the one before.
    pub repeated: bool,
}

/// What is known of the column besides the sample.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Values of the table, those included that are not sampled for their length.
    pub values: f64,
    /// Rows of the table.
    pub rows: f64,
    /// Different values.
    pub distinct: f64,
    /// Whether the number of different values is taken to grow with the table.
    pub grows: bool,
    /// Whether some values are not sampled for their length.
    pub wide: bool,
}

/// The distribution of values. Values are named by their places among the sorted ones.
#[derive(Debug, Default, PartialEq)]
pub struct Distribution {
    /// Common values with their shares of the rows, the most common first.
    pub common: Vec<(usize, f64)>,
    /// Values that divide the others into parts of equal size.
    pub histogram: Vec<usize>,
    /// How far the order of the values is that of the rows, -1 to 1.
    pub correlation: Option<f64>,
}

/// Equal values.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: usize,
    count: usize,
    weight: f64,
}

fn groups(sorted: &[Sampled]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (first, value) in sorted.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if value.repeated => {
                group.count += 1;
                group.weight += value.weight;
            }
            _ => groups.push(Group { first, count: 1, weight: value.weight }),
        }
    }
    groups
}

/// How many of the sampled values are different, and of how many of these there is only one.
pub fn count_distinct(sorted: &[Sampled]) -> (usize, usize) {
    let groups = groups(sorted);
    (groups.len(), groups.iter().filter(|group| group.count == 1).count())
}

/// Describes sorted values.
pub fn describe(sorted: &[Sampled], facts: &Facts) -> Distribution {
    let groups = groups(sorted);
    if groups.is_empty() {
        return Distribution::default();
    }
    let common = common(&groups, sorted.len(), facts);
    let mut is_common = vec![false; groups.len()];
    for index in &common {
        is_common[*index] = true;
    }
    let others = groups.iter().zip(&is_common).filter(|(_, common)| !**common).map(|(group, _)| *group);
    Distribution {
        histogram: histogram(sorted, &others.collect::<Vec<_>>()),
        common: common.iter().map(|index| (groups[*index].first, groups[*index].weight / facts.rows)).collect(),
        correlation: correlation(sorted),
    }
}

/// Indexes of the groups that are common, the most common first.
fn common(groups: &[Group], sampled: usize, facts: &Facts) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by(|a, b| groups[*b].weight.total_cmp(&groups[*a].weight).then(a.cmp(b)));
    // Few values: all of them, and no other is taken to occur.
    let all = groups.len() <= TARGET && !facts.grows && !facts.wide && facts.distinct < groups.len() as f64 + 0.5;
    if all {
        return order;
    }
    order.retain(|index| groups[*index].count > 1);
    order.truncate(TARGET);
    let mut rest: f64 = facts.values - order.iter().map(|index| groups[*index].weight).sum::<f64>();
    // A value is common if chance alone does not explain that there are more of it than of the average of those that are not. Of many that are
    // not some are met more often by chance, hence three deviations.
    while let Some(last) = order.last() {
        let group = groups[*last];
        let others = (facts.distinct - order.len() as f64).max(1.0);
        let share = (rest.max(0.0) / others / facts.values).min(1.0);
        let expected = share * sampled as f64;
        let deviation = (expected * (1.0 - share)).max(0.0).sqrt();
        if group.count as f64 > expected + 3.0 * deviation + 1.0 {
            break;
        }
        rest += group.weight;
        order.pop();
    }
    order
}

/// Places of values with as much weight from one to the next.
fn histogram(sorted: &[Sampled], groups: &[Group]) -> Vec<usize> {
    if groups.len() < 2 {
        return Vec::new();
    }
    let places: Vec<usize> = groups.iter().flat_map(|group| group.first..group.first + group.count).collect();
    let total: f64 = places.iter().map(|place| sorted[*place].weight).sum();
    let bounds = groups.len().min(TARGET + 1);
    let mut found = Vec::with_capacity(bounds);
    let (mut before, mut next) = (0.0, 0);
    for place in &places {
        before += sorted[*place].weight;
        // The last bound is the greatest value.
        while next + 1 < bounds && before > total * next as f64 / (bounds - 1) as f64 {
            found.push(*place);
            next += 1;
        }
    }
    found.truncate(bounds - 1);
    found.extend(places.last());
    found
}

/// Correlation of the places of values in the table with those in their order.
fn correlation(sorted: &[Sampled]) -> Option<f64> {
    if sorted.len() < 2 {
        return None;
    }
    let total: f64 = sorted.iter().map(|value| value.weight).sum();
    let mean = total / 2.0;
    let (mut before, mut both, mut ranks, mut positions) = (0.0, 0.0, 0.0, 0.0);
    for value in sorted {
        let rank = before + value.weight / 2.0 - mean;
        let position = value.position + value.weight / 2.0 - mean;
        both += value.weight * rank * position;
        ranks += value.weight * rank * rank;
        positions += value.weight * position * position;
        before += value.weight;
    }
    let scale = (ranks * positions).sqrt();
    (scale > 0.0).then(|| (both / scale).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in the order of the table, each standing for `weight`.
    fn sorted(values: &[u32], weight: f64) -> (Vec<u32>, Vec<Sampled>) {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|index| (values[*index], *index));
        let mut last = None;
        let sampled = order.iter().map(|index| {
            let repeated = last.replace(values[*index]) == Some(values[*index]);
            Sampled { weight, position: *index as f64 * weight, repeated }
        });
        let sampled = sampled.collect();
        (order.iter().map(|index| values[*index]).collect(), sampled)
    }

    fn facts(values: usize, distinct: f64) -> Facts {
        Facts { values: values as f64, rows: values as f64, distinct, grows: false, wide: false }
    }

    #[test]
    fn few_values_are_all_common() {
        let values: Vec<u32> = (0..1000).map(|i| if i % 10 == 0 { 7 } else { i % 3 }).collect();
        let (names, sampled) = sorted(&values, 2.0);
        let found = describe(&sampled, &Facts { rows: 4000.0, ..facts(2000, 4.0) });
        assert_eq!(found.common.len(), 4);
        assert!(found.histogram.is_empty());
        let seven = found.common.iter().find(|(place, _)| names[*place] == 7).map(|(_, share)| *share);
        assert!((seven.unwrap_or(0.0) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn skewed_values_are_found_and_others_are_not() {
        // Half of the values are one of two, the others are spread over 10,000.
        let values: Vec<u32> = (0..8000u32).map(|i| if i % 4 < 2 { i % 4 } else { 10 + i * 7919 % 10_000 }).collect();
        let (names, sampled) = sorted(&values, 10.0);
        let found = describe(&sampled, &facts(80_000, 10_000.0));
        assert_eq!(found.common.iter().map(|(place, _)| names[*place]).collect::<Vec<_>>(), [0, 1]);
        assert!((found.common[0].1 - 0.25).abs() < 1e-9);
        assert_eq!(found.histogram.len(), 101);
        assert!(found.histogram.iter().all(|place| names[*place] >= 10));
        let middle = names[found.histogram[50]];
        assert!((4700..5300).contains(&middle), "{middle}");
    }

    #[test]
    fn different_values_have_no_common_ones() {
        let (names, sampled) = sorted(&(0..5000).rev().collect::<Vec<_>>(), 3.0);
        let found = describe(&sampled, &Facts { grows: true, ..facts(15_000, 15_000.0) });
        assert!(found.common.is_empty());
        assert_eq!((names[found.histogram[0]], names[found.histogram[100]]), (0, 4999));
        assert!((found.correlation.unwrap_or(0.0) + 1.0).abs() < 1e-6);
    }

    #[test]
    fn two_values_have_two_bounds() {
        let (_, sampled) = sorted(&[5, 9], 1.0);
        let found = describe(&sampled, &Facts { grows: true, ..facts(2, 2.0) });
        assert_eq!(found.histogram, [0, 1]);
        assert_eq!(describe(&[], &facts(0, 0.0)), Distribution::default());
    }
}
