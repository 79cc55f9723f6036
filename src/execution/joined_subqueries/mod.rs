//! Correlated aggregates as joins.
//!
//! `x < (SELECT avg(y) FROM t WHERE t.k = o.k)` is computed by PostgreSQL for each row for which the condition is evaluated. It is the same as a left
//! join of `o` with `SELECT k, avg(y) FROM t GROUP BY k`, whose groups are computed once (Kim, On Optimizing an SQL-like Nested Query, 1982; the
//! left join and the count of nothing are Ganski and Wong's, 1987); and as a join with a lateral subquery, which may come before other joins and may
//! remember results. Which is cheaper depends on how many rows `o` has and on indexes, so that such a query is planned in all
//! ways and the cheapest plan is taken.

mod rewrite;
mod safety;
mod subquery;

use crate::columnar::am;
use crate::pg::{OpenRel, compat};
use crate::settings;
use pgrx::pg_guard;
use pgrx::pg_sys::{self, CmdType, PlannedStmt, Query, RTEKind};

/// Whether a query may have subqueries at all; a quick look at its top.
///
/// # Safety
/// `query` must be a valid query.
pub unsafe fn may_have(query: *mut Query) -> bool {
    // SAFETY: the caller's promise; range tables hold their entries.
    unsafe {
        if (*query).commandType == CmdType::CMD_UTILITY || !settings::enable_joined_subqueries() {
            return false;
        }
        let entries = (*query).rtable;
        let nested = !entries.is_null()
            && (0..(*entries).length as usize).any(|i| {
                let entry = (*(*entries).elements.add(i)).ptr_value.cast::<pg_sys::RangeTblEntry>();
                (*entry).rtekind == RTEKind::RTE_SUBQUERY
            });
        (*query).hasSubLinks || nested || !(*query).cteList.is_null()
    }
}

/// What stands in the place of a subquery.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A lateral subquery, computed for each row that it is joined with.
    Lateral,
    /// The groups of all keys.
    Grouped,
}

/// Whether a query has correlated aggregates over columnar tables that can be joined.
///
/// # Safety
/// `query` must have been rewritten, but not yet planned.
#[pg_guard]
pub unsafe extern "C-unwind" fn has_any(query: *mut Query) -> bool {
    // SAFETY: the caller's promise.
    unsafe { rewrite::has_any(query) }
}

/// A copy of a query whose correlated aggregates over columnar tables are joins of a form.
///
/// # Safety
/// As for [`has_any`].
#[pg_guard]
pub unsafe extern "C-unwind" fn alternative(query: *mut Query, form: Form) -> *mut Query {
    // SAFETY: the caller's promise.
    unsafe {
        let copy = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
        rewrite::rewrite(copy, form);
        copy
    }
}

/// Whether a plan is cheaper than another of the same query.
///
/// # Safety
/// Both must be plans.
pub unsafe fn is_cheaper(a: *mut PlannedStmt, b: *mut PlannedStmt) -> bool {
    // SAFETY: the caller's promise.
    let cost = |plan: *mut PlannedStmt| unsafe {
        let top = (*plan).planTree;
        (compat::disabled_nodes(top), (*top).total_cost)
    };
    cost(a) < cost(b)
}

/// Whether a relation, on which a lock has to be held, is a columnar table.
fn is_columnar(relation: pg_sys::Oid) -> bool {
    OpenRel::locked(relation).is_some_and(|relation| am::is_columnar(relation.rel().raw()))
}
