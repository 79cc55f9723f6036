//! Unique indexes of several columns, for the planner's estimates of joins.
//!
//! A join by all columns of such an index meets one row of its table at most. Core multiplies what each column selects, as if they were independent, unless
//! there is a foreign key: 6,001,215 line items joined with the 800,000 rows of TPC-H's partsupp by the two columns of its key were
//! expected to be 2,400 rows. A key that a query joins by is therefore described to core as if it were referenced by a foreign key, in queries with
//! columnar tables. Core takes the columns' conditions together then, and one of `n` rows to match.

use crate::columnar::am;
use crate::pg::OpenRel;
use crate::pg::compat::{list, pointers};
use pgrx::pg_guard;
use pgrx::pg_sys::*;

/// A condition that a column of one table equals a column of another.
struct Equality {
    operator: Oid,
    left: (Index, AttrNumber),
    right: (Index, AttrNumber),
}

/// Describes the keys of a relation by which a query joins it.
///
/// # Safety
/// Arguments as core passes them to `get_relation_info_hook`.
#[pg_guard]
pub unsafe extern "C-unwind" fn describe(root: *mut PlannerInfo, relation: Oid, rel: *mut RelOptInfo) {
    // SAFETY: the caller's promise.
    unsafe {
        let keys: Vec<_> =
            pointers::<IndexOptInfo>((*rel).indexlist).into_iter().filter(|index| is_key(*index)).collect();
        if keys.is_empty() {
            return;
        }
        let mut equalities = Vec::new();
        collect((*(*root).parse).jointree.cast(), &mut equalities);
        equalities.retain(|equality| equality.left.0 == (*rel).relid || equality.right.0 == (*rel).relid);
        if equalities.len() < 2 {
            return;
        }
        let ours = is_columnar(relation);
        for index in keys {
            let columns = std::slice::from_raw_parts((*index).indexkeys, (*index).nkeycolumns as usize);
            for other in partners(&equalities, (*rel).relid) {
                let entry = *pointers::<RangeTblEntry>((*(*root).parse).rtable).get_unchecked(other as usize - 1);
                let matched = matched(&equalities, ((*rel).relid, columns), other);
                let columnar = || ours || ((*entry).rtekind == RTEKind::RTE_RELATION && is_columnar((*entry).relid));
                if let Some(matched) = matched.filter(|_| columnar() && !is_known(root, (*rel).relid, other)) {
                    add(root, (*rel).relid, other, &matched);
                }
            }
        }
    }
}

fn is_columnar(relation: Oid) -> bool {
    OpenRel::locked(relation).is_some_and(|relation| am::is_columnar(relation.rel().raw()))
}

/// Whether an index is a unique one of several plain columns, of all rows.
///
/// # Safety
/// `index` must be valid.
unsafe fn is_key(index: *mut IndexOptInfo) -> bool {
    // SAFETY: the caller's promise; there is an element for each key column.
    unsafe {
        let index = &*index;
        let columns = 2..=INDEX_MAX_KEYS as i32;
        index.unique
            && index.immediate
            && !index.hypothetical
            && index.indpred.is_null()
            && columns.contains(&index.nkeycolumns)
            && (0..index.nkeycolumns as usize).all(|at| *index.indexkeys.add(at) > 0)
    }
}

/// Collects the equalities of a join tree.
///
/// # Safety
/// `node` must be of a join tree whose conditions have been preprocessed.
unsafe fn collect(node: *mut Node, found: &mut Vec<Equality>) {
    // SAFETY: the caller's promise; each node has the type that its tag says.
    unsafe {
        if node.is_null() {
            return;
        }
        let quals = match (*node).type_ {
            NodeTag::T_FromExpr => {
                let from = &*node.cast::<FromExpr>();
                pointers::<Node>(from.fromlist).into_iter().for_each(|item| collect(item, found));
                from.quals
            }
            NodeTag::T_JoinExpr => {
                let join = &*node.cast::<JoinExpr>();
                collect(join.larg, found);
                collect(join.rarg, found);
                join.quals
            }
            _ => return,
        };
        if !quals.is_null() && (*quals).type_ == NodeTag::T_List {
            found.extend(pointers::<Node>(quals.cast()).into_iter().filter_map(|clause| equality(clause)));
        }
    }
}

/// # Safety
/// `clause` must be an expression.
unsafe fn equality(clause: *mut Node) -> Option<Equality> {
    // SAFETY: the caller's promise.
    unsafe {
        if (*clause).type_ != NodeTag::T_OpExpr {
            return None;
        }
        let operation = &*clause.cast::<OpExpr>();
        let &[left, right] = pointers::<Node>(operation.args).as_slice() else { return None };
        let (left, right) = (column(left)?, column(right)?);
        let joins = left.0 != right.0
            && op_mergejoinable(operation.opno, exprType((*operation.args).elements.read().ptr_value.cast()));
        joins.then_some(Equality { operator: operation.opno, left, right })
    }
}

/// The column that an expression is, of a table of the query itself.
///
/// # Safety
/// `node` must be an expression.
unsafe fn column(mut node: *mut Node) -> Option<(Index, AttrNumber)> {
    // SAFETY: the caller's promise.
    unsafe {
        while (*node).type_ == NodeTag::T_RelabelType {
            node = (*node.cast::<RelabelType>()).arg.cast();
        }
        if (*node).type_ != NodeTag::T_Var {
            return None;
        }
        let var = &*node.cast::<Var>();
        (var.varlevelsup == 0 && var.varattno > 0 && var.varno as i64 > 0).then_some((var.varno as Index, var.varattno))
    }
}

/// The tables that a table's columns are compared with, each once.
fn partners(equalities: &[Equality], table: Index) -> Vec<Index> {
    let of = |equality: &Equality| if equality.left.0 == table { equality.right.0 } else { equality.left.0 };
    let mut partners: Vec<_> = equalities.iter().map(of).collect();
    partners.sort_unstable();
    partners.dedup();
    partners
}

/// For each column of a key, the column of another table that it is compared with and the operator, the key's column left; nothing unless there
/// is one for each.
fn matched(
    equalities: &[Equality],
    (table, columns): (Index, &[i32]),
    other: Index,
) -> Option<Vec<(AttrNumber, AttrNumber, Oid)>> {
    let of = |column: &i32| {
        let key = (table, *column as AttrNumber);
        equalities.iter().find_map(|equality| {
            if equality.left == key && equality.right.0 == other {
                return Some((key.1, equality.right.1, equality.operator));
            }
            let turned = equality.right == key && equality.left.0 == other;
            // SAFETY: a look into the catalog; an operator without a commutator has none that is valid.
            let operator = || unsafe { get_commutator(equality.operator) };
            turned.then(|| (key.1, equality.left.1, operator())).filter(|found| found.2 != InvalidOid)
        })
    };
    columns.iter().map(of).collect()
}

/// Whether a foreign key between two tables is known.
///
/// # Safety
/// `root` must be valid.
unsafe fn is_known(root: *mut PlannerInfo, referenced: Index, other: Index) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let between = |key: &*mut ForeignKeyOptInfo| (**key).ref_relid == referenced && (**key).con_relid == other;
        pointers::<ForeignKeyOptInfo>((*root).fkey_list).iter().any(between)
    }
}

/// # Safety
/// `root` must be valid, and the columns those of the tables.
unsafe fn add(root: *mut PlannerInfo, referenced: Index, other: Index, columns: &[(AttrNumber, AttrNumber, Oid)]) {
    // SAFETY: the caller's promise; the node is zeroed, then its fields are set. A key has no more columns than the arrays have elements.
    unsafe {
        let key = palloc0(size_of::<ForeignKeyOptInfo>()).cast::<ForeignKeyOptInfo>();
        (*key).type_ = NodeTag::T_ForeignKeyOptInfo;
        ((*key).con_relid, (*key).ref_relid) = (other, referenced);
        (*key).nkeys = columns.len() as i32;
        for (at, (own, others, operator)) in columns.iter().enumerate() {
            (*key).confkey[at] = *own;
            (*key).conkey[at] = *others;
            (*key).conpfeqop[at] = *operator;
        }
        (*root).fkey_list = list_concat((*root).fkey_list, list([key]));
    }
}
