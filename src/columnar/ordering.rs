//! What columns are for in a table's stripes: some segment it, by some each segment is sorted, some have Bloom filters.
//!
//! Each of these columns has a security label of its own, `segment_by=1` or `order_by=2 DESC NULLS LAST, bloom_filter=1`, so that core
//! renames, drops and dumps it with the column. The number says which place the column has among its like.

use super::columns;
use super::encoding::has_equality_hash;
use super::options::PROVIDER;
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::sort::SortKey;
use crate::pg::{Rel, compat, label, values};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::fmt;

/// Columns of a list at most.
const MAX_KEYS: usize = 16;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Rows with equal values lie together.
    Segment,
    /// Rows of a segment are sorted by it.
    Order,
    /// Stripes have a Bloom filter of its values.
    Filter,
}

/// All roles.
pub const ROLES: [Role; 3] = [Role::Segment, Role::Order, Role::Filter];

impl Role {
    /// Name of the option that lists such columns.
    pub fn option(self) -> &'static str {
        match self {
            Self::Segment => "segment_by",
            Self::Order => "order_by",
            Self::Filter => "bloom_filter",
        }
    }
}

/// The direction of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Direction {
    descending: bool,
    nulls_first: bool,
}

impl Direction {
    /// Reads `[ASC | DESC] [NULLS FIRST | NULLS LAST]`.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (descending, nulls) = match words.as_slice() {
            ["ASC", rest @ ..] => (false, rest),
            ["DESC", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let nulls_first = match nulls {
            [] => descending,
            ["NULLS", "FIRST"] => true,
            ["NULLS", "LAST"] => false,
            _ => return None,
        };
        Some(Self { descending, nulls_first })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.descending { " DESC" } else { "" })?;
        match (self.descending, self.nulls_first) {
            (false, true) => f.write_str(" NULLS FIRST"),
            (true, false) => f.write_str(" NULLS LAST"),
            _ => Ok(()),
        }
    }
}

/// A column of a list as the user writes it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    column: String,
    direction: Direction,
}

/// Reads a list separated by commas.
fn parse_list(role: Role, text: &str) -> Result<Vec<Named>, OrochiError> {
    let mut keys: Vec<Named> = Vec::new();
    for item in split(text) {
        let form = match role {
            Role::Segment | Role::Filter => "It is a list of columns, separated by commas.",
            Role::Order => {
                "It is a list of columns, each with ASC or DESC and NULLS FIRST or LAST if need be, separated by commas."
            }
        };
        let named = identifier(item.trim()).and_then(|(column, rest)| {
            let plain = role == Role::Order || rest.trim().is_empty();
            Direction::parse(rest).filter(|_| plain).map(|direction| Named { column, direction })
        });
        let named = named.ok_or_else(|| invalid(role, item, form))?;
        if keys.iter().any(|key| key.column == named.column) {
            return Err(invalid(role, text, &format!("Column \"{}\" is named twice.", named.column)));
        }
        keys.push(named);
    }
    if keys.len() > MAX_KEYS {
        return Err(invalid(role, text, &format!("It names at most {MAX_KEYS} columns.")));
    }
    Ok(keys)
}

/// What the label of a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Labelled {
    role: Role,
    place: usize,
    direction: Direction,
}

impl Labelled {
    fn parse(text: &str) -> Option<Self> {
        let (option, rest) = text.split_once('=')?;
        let role = ROLES.into_iter().find(|role| role.option() == option.trim())?;
        let rest = rest.trim();
        let (place, direction) = rest.split_once(' ').unwrap_or((rest, ""));
        let place = place.parse().ok().filter(|place| (1..=MAX_KEYS).contains(place))?;
        Some(Self { role, place, direction: Direction::parse(direction)? })
    }
}

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}{}", self.role.option(), self.place, self.direction)
    }
}

/// What a label says of a column's roles, at most one of each kind; `None` if it says anything else.
fn parse_label(text: &str) -> Option<Vec<Labelled>> {
    let all: Vec<Labelled> = text.split(',').map(Labelled::parse).collect::<Option<_>>()?;
    let repeated = all.iter().enumerate().any(|(index, one)| all[..index].iter().any(|other| other.role == one.role));
    (!repeated).then_some(all)
}

/// Gives a column the label that says what its roles are; none without any.
fn set_label(table: Rel, attribute: i16, labels: &[Labelled]) {
    let text = labels.iter().map(Labelled::to_string).collect::<Vec<_>>().join(", ");
    label::set(table.oid(), attribute.into(), PROVIDER, (!text.is_empty()).then_some(text.as_str()));
}

/// A role that a column of a table has.
struct Key {
    attribute: i16,
    label: Labelled,
}

/// The roles of a table's columns by kind, segments first.
fn keys(table: Rel) -> Vec<Key> {
    let mut keys = Vec::new();
    for attribute in attributes(table).iter().filter(|attribute| !attribute.attisdropped) {
        let text = label::get(table.oid(), attribute.attnum.into(), PROVIDER);
        let labels = text.as_deref().and_then(parse_label).unwrap_or_default();
        keys.extend(labels.into_iter().map(|label| Key { attribute: attribute.attnum, label }));
    }
    keys.sort_by_key(|key| (key.label.role, key.label.place, key.attribute));
    keys
}

/// For each column of a table whether its stripes are to have a Bloom filter of it: the option names it, or an index has it.
pub fn filtered(table: Rel) -> Vec<bool> {
    let indexed = compat::indexed_columns(table);
    let named = keys(table);
    let is_named = |number| named.iter().any(|key| key.label.role == Role::Filter && key.attribute == number);
    attributes(table).iter().map(|a| is_named(a.attnum) || indexed.contains(&a.attnum)).collect()
}

/// What the rows of a table's stripes are sorted by.
pub fn sort_keys(table: Rel) -> Vec<SortKey> {
    keys(table)
        .iter()
        .filter(|key| key.label.role != Role::Filter)
        .filter_map(|key| sort_key(attribute(table, key.attribute)?, key.label.direction))
        .collect()
}

/// The columns of a role as the option lists them; empty without any.
pub fn list(table: Rel, role: Role) -> String {
    let keys = keys(table);
    let shown = keys.iter().filter(|key| key.label.role == role).filter_map(|key| {
        let direction = if role == Role::Order { key.label.direction.to_string() } else { String::new() };
        Some(format!("{}{direction}", quoted(&name(attribute(table, key.attribute)?))))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Gives a role to the columns that a list names, and takes it from all others.
pub fn set_list(table: Rel, role: Role, text: &str) {
    let named = parse_list(role, text).or_raise();
    let mut wanted = Vec::new();
    for (key, place) in named.iter().zip(1..) {
        let found = attributes(table).iter().find(|a| !a.attisdropped && name(a) == key.column);
        let attribute = found.ok_or_else(|| OrochiError::InvalidOption {
            what: format!("column \"{}\" of table \"{}\" does not exist", key.column, table.name()),
            hint: "The options segment_by, order_by and bloom_filter name columns of the table.".into(),
        });
        let attribute = attribute.or_raise();
        require_type(table, attribute, role);
        wanted.push((attribute.attnum, Labelled { role, place, direction: key.direction }));
    }
    let mut old = keys(table);
    let others = |old: &[Key], attribute| -> Vec<Labelled> {
        old.iter().filter(|key| key.attribute == attribute && key.label.role != role).map(|key| key.label).collect()
    };
    for (attribute, labelled) in &wanted {
        let mut labels = others(&old, *attribute);
        labels.push(*labelled);
        labels.sort_by_key(|label| label.role);
        set_label(table, *attribute, &labels);
    }
    old.retain(|key| !wanted.iter().any(|(attribute, _)| *attribute == key.attribute));
    for key in old.iter().filter(|key| key.label.role == role) {
        set_label(table, key.attribute, &others(&old, key.attribute));
    }
}

/// Raises an error unless a label may be that of a column.
pub fn check_label(table: Rel, attribute_number: i32, text: &str) {
    let Some(labels) = parse_label(text) else {
        OrochiError::InvalidOption {
            what: format!("invalid columnar option of a column: \"{text}\""),
            hint: "It is one or more of segment_by=1, order_by=1 DESC NULLS LAST and bloom_filter=1, separated by commas; the number is the column's place among its like.".into(),
        }
        .raise();
    };
    if let Some(attribute) = i16::try_from(attribute_number).ok().and_then(|number| attribute(table, number)) {
        labels.iter().for_each(|label| require_type(table, attribute, label.role));
    }
}

/// Takes all roles from a table's columns.
pub fn forget(table: Rel) {
    let mut labelled: Vec<i16> = keys(table).iter().map(|key| key.attribute).collect();
    labelled.sort_unstable();
    labelled.dedup();
    labelled.into_iter().for_each(|attribute| set_label(table, attribute, &[]));
}

fn attributes<'a>(table: Rel) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: the descriptor is valid while the table is open, which is longer than anybody here looks at it.
    unsafe { values::attributes(table.desc()) }
}

fn attribute<'a>(table: Rel, number: i16) -> Option<&'a pg_sys::FormData_pg_attribute> {
    attributes(table).get(usize::try_from(number).ok()?.checked_sub(1)?)
}

fn name(attribute: &pg_sys::FormData_pg_attribute) -> String {
    // SAFETY: names end with a NUL byte.
    unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) }.to_string_lossy().into_owned()
}

/// How to sort by a column; `None` if its type has no order.
fn sort_key(attribute: &pg_sys::FormData_pg_attribute, direction: Direction) -> Option<SortKey> {
    let flags = pg_sys::TYPECACHE_LT_OPR | pg_sys::TYPECACHE_GT_OPR;
    // SAFETY: a catalog look-up; entries of the type cache live as long as the process.
    let operators = unsafe { &*pg_sys::lookup_type_cache(attribute.atttypid, flags as i32) };
    let operator = if direction.descending { operators.gt_opr } else { operators.lt_opr };
    (operator != pg_sys::InvalidOid).then_some(SortKey {
        attribute: attribute.attnum,
        operator,
        collation: attribute.attcollation,
        nulls_first: direction.nulls_first,
    })
}

fn require_type(table: Rel, attribute: &pg_sys::FormData_pg_attribute, role: Role) {
    let (fits, lacking, hint) = match role {
        Role::Segment | Role::Order => (
            sort_key(attribute, Direction::default()).is_some(),
            "an order",
            "Columns of segment_by and order_by need a type with a btree operator class.",
        ),
        Role::Filter => (
            has_equality_hash(columns::order(attribute.atttypid)),
            "a Bloom filter",
            "Columns of bloom_filter are integers, numerics, texts, byte strings, UUIDs, dates, times or timestamps.",
        ),
    };
    if !fits {
        OrochiError::InvalidOption {
            what: format!("column \"{}\" of table \"{}\" has a type without {lacking}", name(attribute), table.name()),
            hint: hint.into(),
        }
        .raise();
    }
}

fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn invalid(role: Role, value: &str, hint: &str) -> OrochiError {
    OrochiError::InvalidOption {
        what: format!("invalid value for columnar option \"{}\": \"{value}\"", role.option()),
        hint: hint.into(),
    }
}

/// An identifier, folded to lower case unless it is quoted, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if quoted[at + 1..].starts_with('"') {
                name.push('"');
                chars.next();
            } else {
                return (!name.is_empty()).then_some((name, &quoted[at + 1..]));
            }
        }
        return None;
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_lowercase(), &text[end..]))
}

/// The parts of a text between commas that are not within double quotes, without empty ones.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => inside = !inside,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_shown() {
        let text = "time DESC, \"Odd, \"\"name\"\"\" NULLS FIRST, b DESC NULLS LAST, c";
        let keys = parse_list(Role::Order, text).expect("valid");
        let shown: Vec<String> = keys.iter().map(|key| format!("{}{}", quoted(&key.column), key.direction)).collect();
        assert_eq!(shown.join(", "), text);
        assert_eq!(keys[1].column, "Odd, \"name\"");
        let folded = parse_list(Role::Segment, " Host ,region").expect("valid");
        assert_eq!(folded.iter().map(|key| key.column.as_str()).collect::<Vec<_>>(), ["host", "region"]);
        assert_eq!(parse_list(Role::Order, "").expect("valid"), []);
    }

    #[test]
    fn what_is_no_list_of_columns_is_refused() {
        for text in ["time upwards", "a NULLS", "\"", "\"\"", "a, a", "-", "a b c", "a DESC NULLS ROW"] {
            assert!(parse_list(Role::Order, text).is_err(), "{text}");
        }
        assert!(parse_list(Role::Segment, "a DESC").is_err());
    }

    #[test]
    fn labels_are_read_as_they_are_written() {
        for text in ["segment_by=1", "order_by=2 DESC NULLS LAST", "order_by=16", "order_by=1 NULLS FIRST"] {
            assert_eq!(Labelled::parse(text).map(|label| label.to_string()).as_deref(), Some(text));
        }
        let both = "segment_by=1, bloom_filter=2";
        assert_eq!(
            parse_label(both)
                .map(|labels| labels.iter().map(Labelled::to_string).collect::<Vec<_>>().join(", "))
                .as_deref(),
            Some(both)
        );
        assert_eq!(parse_label("bloom_filter=1, bloom_filter=2"), None);
        for text in ["", "segment_by", "segment_by=0", "order_by=17", "order_by=1 UP", "colour=1"] {
            assert_eq!(Labelled::parse(text), None, "{text}");
        }
    }
}
