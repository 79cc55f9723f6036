//! A subquery that can be computed for all its keys at once.

use super::safety::{cannot_fail, cannot_fail_in_groups};
use crate::execution::vector_join::planning::is_default_equality;
use crate::pg::compat::pointers;
use pgrx::pg_guard;
use pgrx::pg_sys::{
    self, Aggref, InvalidOid, Node, NodeTag, OpExpr, Query, RTEKind, SubLink, SubLinkType, TargetEntry,
};
use std::ffi::c_void;

/// A condition `key = value`, of whose sides one is of the subquery and one of the query around it.
pub struct Correlation {
    pub clause: *mut OpExpr,
    pub key: *mut Node,
    pub value: *mut Node,
}

/// What [`Correlated::examine`] finds.
pub struct Correlated {
    pub link: *mut SubLink,
    pub query: *mut Query,
    pub correlations: Vec<Correlation>,
    /// Its other conditions.
    pub conditions: Vec<*mut Node>,
    /// Its only column.
    pub value: *mut Node,
    /// The aggregates in that.
    pub calls: Vec<*mut Aggref>,
}

impl Correlated {
    /// Takes a subquery apart, if it is one that gives the same when it is computed for every key.
    ///
    /// # Safety
    /// `link` must be part of a query that has been rewritten, but not yet planned.
    pub unsafe fn examine(link: *mut SubLink) -> Option<Self> {
        // SAFETY: the caller's promise; nodes have the types that their tags say.
        unsafe {
            let query = (*link).subselect.cast::<Query>();
            if (*link).subLinkType != SubLinkType::EXPR_SUBLINK || !is_plain(query) || !reads_columnar(query) {
                return None;
            }
            let &[entry] = pointers::<TargetEntry>((*query).targetList).as_slice() else { return None };
            let value = (*entry).expr.cast::<Node>();
            let mut calls = Calls { found: Vec::new(), others: false };
            calls.visit(value);
            if calls.others || !calls.found.iter().all(|call| cannot_fail_in_groups(*call)) {
                return None;
            }
            let (mut correlations, mut conditions) = (Vec::new(), Vec::new());
            let quals = (*(*query).jointree).quals;
            for condition in pointers::<Node>(pg_sys::make_ands_implicit(quals.cast())) {
                match correlation(condition) {
                    Some(found) => correlations.push(found),
                    None => conditions.push(condition),
                }
            }
            let inside = |node: *mut Node| cannot_fail(node) && !pg_sys::contain_vars_of_level(node, 1);
            let apart = conditions.iter().all(|condition| inside(*condition))
                && pointers::<Node>((*(*query).jointree).fromlist).into_iter().all(inside)
                && calls.found.iter().all(|call| !pg_sys::contain_vars_of_level(call.cast(), 1));
            (apart && !correlations.is_empty()).then_some(Self {
                link,
                query,
                correlations,
                conditions,
                value,
                calls: calls.found,
            })
        }
    }
}

/// Whether a query is an aggregation of tables without anything around it.
///
/// # Safety
/// `query` must be a valid query.
unsafe fn is_plain(query: *mut Query) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let q = &*query;
        let lists =
            [q.groupClause, q.groupingSets, q.windowClause, q.distinctClause, q.sortClause, q.cteList, q.rowMarks];
        let clauses = [q.havingQual, q.limitOffset, q.limitCount, q.setOperations];
        q.hasAggs
            && !(q.hasWindowFuncs || q.hasTargetSRFs || q.hasSubLinks)
            && lists.iter().all(|list| list.is_null())
            && clauses.iter().all(|clause| clause.is_null())
            && !q.jointree.is_null()
    }
}

/// Whether a query reads tables only, and of these a columnar one.
///
/// # Safety
/// `query` must be a valid query.
unsafe fn reads_columnar(query: *mut Query) -> bool {
    // SAFETY: the caller's promise; locks are held on what a query reads.
    unsafe {
        let entries = pointers::<pg_sys::RangeTblEntry>((*query).rtable);
        let plain = entries.iter().all(|entry| match (**entry).rtekind {
            RTEKind::RTE_RELATION => (**entry).tablesample.is_null(),
            RTEKind::RTE_JOIN => true,
            _ => false,
        });
        let table = |entry: &&*mut pg_sys::RangeTblEntry| (***entry).rtekind == RTEKind::RTE_RELATION;
        plain && entries.iter().filter(table).any(|entry| super::is_columnar((**entry).relid))
    }
}

/// The equality of a column of the subquery and one of the query around it, if a condition is that, and the one by which is grouped.
///
/// # Safety
/// `condition` must be an expression of the subquery.
unsafe fn correlation(condition: *mut Node) -> Option<Correlation> {
    // SAFETY: the caller's promise; the node has the type that its tag says.
    unsafe {
        if (*condition).type_ != NodeTag::T_OpExpr {
            return None;
        }
        let clause = condition.cast::<OpExpr>();
        let &[left, right] = pointers::<Node>((*clause).args).as_slice() else { return None };
        let lies = |node: *mut Node, level: i32| {
            pg_sys::contain_vars_of_level(node, level) && !pg_sys::contain_vars_of_level(node, 1 - level)
        };
        let (key, value) = match (lies(left, 0) && lies(right, 1), lies(right, 0) && lies(left, 1)) {
            (true, _) => (left, right),
            (_, true) => (right, left),
            _ => return None,
        };
        let same = |collation| collation == InvalidOid || pg_sys::get_collation_isdeterministic(collation);
        let equality = is_default_equality((*clause).opno, pg_sys::exprType(key))
            && same((*clause).inputcollid)
            && same(pg_sys::exprCollation(key));
        (equality && cannot_fail(key) && cannot_fail(value)).then_some(Correlation { clause, key, value })
    }
}

/// Finds the aggregates of a column, and whether it is made from anything else that depends on rows.
struct Calls {
    found: Vec<*mut Aggref>,
    others: bool,
}

impl Calls {
    /// # Safety
    /// `node` must be an expression.
    unsafe fn visit(&mut self, node: *mut Node) {
        // SAFETY: the caller's promise.
        unsafe { visit(node, (&raw mut *self).cast()) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `Calls::visit` with itself, and by PostgreSQL's walker with the same.
    unsafe {
        let Some(calls) = context.cast::<Calls>().as_mut().filter(|_| !node.is_null()) else { return false };
        match (*node).type_ {
            NodeTag::T_Aggref => {
                if !calls.found.iter().any(|known| pg_sys::equal(known.cast(), node.cast())) {
                    calls.found.push(node.cast());
                }
                false
            }
            NodeTag::T_Var | NodeTag::T_SubLink | NodeTag::T_GroupingFunc => {
                calls.others = true;
                true
            }
            _ => pg_sys::expression_tree_walker(node, Some(visit), context),
        }
    }
}
