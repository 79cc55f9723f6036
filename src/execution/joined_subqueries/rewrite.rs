//! Finds such subqueries in a query at any depth, and makes joins of them.

use super::Form;
use super::safety::is_count;
use super::subquery::{Correlated, Correlation};
use crate::pg::compat::{self, list, pointers};
use pgrx::pg_guard;
use pgrx::pg_sys::{
    self, Aggref, CmdType, CoalesceExpr, FromExpr, JoinExpr, JoinType, List, Node, NodeTag, Query, RTEKind,
    RangeTblEntry, RangeTblRef, SortGroupClause, SubLink, TargetEntry, Var,
};
use std::ffi::{CStr, c_void};

/// What the walk through a query does at each level.
struct Walk {
    /// What is made of subqueries; nothing if it only looks for some.
    form: Option<Form>,
    found: bool,
}

/// Whether a query has such subqueries at any depth.
///
/// # Safety
/// `query` must have been rewritten, but not yet planned.
pub unsafe fn has_any(query: *mut Query) -> bool {
    // SAFETY: the caller's promise.
    unsafe { walk(query, None) }
}

/// Makes joins of them, in place.
///
/// # Safety
/// As for [`has_any`], and nobody else may have the query.
pub unsafe fn rewrite(query: *mut Query, form: Form) {
    // SAFETY: the caller's promise.
    unsafe { walk(query, Some(form)) };
}

unsafe fn walk(query: *mut Query, form: Option<Form>) -> bool {
    let mut walk = Walk { form, found: false };
    // SAFETY: the caller's promise.
    unsafe { enter(query.cast(), (&raw mut walk).cast()) };
    walk.found
}

#[pg_guard]
unsafe extern "C-unwind" fn enter(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `walk` with its context, and by PostgreSQL's walkers with the same.
    unsafe {
        let Some(walk) = context.cast::<Walk>().as_mut().filter(|_| !node.is_null()) else { return false };
        if (*node).type_ != NodeTag::T_Query {
            return pg_sys::expression_tree_walker(node, Some(enter), context);
        }
        let query = node.cast::<Query>();
        let found = correlated_in(query);
        walk.found |= !found.is_empty();
        match walk.form {
            Some(form) if !found.is_empty() => join_all(query, &found, form),
            None if walk.found => return true,
            _ => {}
        }
        pg_sys::query_tree_walker(query, Some(enter), context, 0)
    }
}

/// The subqueries of one level that can be joined: those in WHERE, and in the columns of a query that does not aggregate.
///
/// # Safety
/// `query` must be a valid query.
unsafe fn correlated_in(query: *mut Query) -> Vec<Correlated> {
    // SAFETY: the caller's promise.
    unsafe {
        let q = &*query;
        let mut found = Vec::new();
        // Rows that are locked or changed are looked up again one by one.
        let plain = q.commandType == CmdType::CMD_SELECT && q.rowMarks.is_null() && q.setOperations.is_null();
        if !plain || !q.hasSubLinks || q.jointree.is_null() || (*q.jointree).fromlist.is_null() {
            return found;
        }
        look((*q.jointree).quals, (&raw mut found).cast());
        if !q.hasAggs && q.groupClause.is_null() && q.groupingSets.is_null() {
            look(q.targetList.cast(), (&raw mut found).cast());
        }
        found
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn look(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: called by `correlated_in` with its list, and by PostgreSQL's walker with the same.
    unsafe {
        let Some(found) = context.cast::<Vec<Correlated>>().as_mut().filter(|_| !node.is_null()) else { return false };
        if (*node).type_ != NodeTag::T_SubLink {
            return pg_sys::expression_tree_walker(node, Some(look), context);
        }
        found.extend(Correlated::examine(node.cast()));
        false
    }
}

/// The expressions that stand for subqueries, and where they go.
struct Replacements(Vec<(*mut SubLink, *mut Node)>);

/// # Safety
/// `found` must have been found in `query`, which nobody else may have.
unsafe fn join_all(query: *mut Query, found: &[Correlated], form: Form) {
    // SAFETY: the caller's promise; the mutator leaves the rest of the query as it is.
    unsafe {
        let mut replacements = Replacements(Vec::with_capacity(found.len()));
        for subquery in found {
            let value = match form {
                Form::Lateral => join_lateral(query, subquery),
                Form::Grouped => join_groups(query, subquery),
            };
            replacements.0.push((subquery.link, value));
        }
        let context: *mut c_void = (&raw mut replacements).cast();
        let tree = (*query).jointree;
        (*tree).quals = replace((*tree).quals, context);
        (*query).targetList = replace((*query).targetList.cast(), context).cast();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn replace(node: *mut Node, context: *mut c_void) -> *mut Node {
    // SAFETY: called by `join_all` with its replacements, and by PostgreSQL's mutator with the same.
    unsafe {
        let Some(known) = context.cast::<Replacements>().as_ref().filter(|_| !node.is_null()) else { return node };
        match known.0.iter().find(|(link, _)| link.cast() == node) {
            Some((_, value)) => *value,
            None => compat::mutate_expression(node, replace, context),
        }
    }
}

/// Joins a query with one of its subqueries as it is, and gives the expression that stands for that.
///
/// # Safety
/// As for [`join_all`].
unsafe fn join_lateral(query: *mut Query, subquery: &Correlated) -> *mut Node {
    // SAFETY: the caller's promise.
    unsafe {
        (*subquery.query).targetList = columns(subquery, 0);
        let at = add_subquery(query, subquery.query, c"lateral", true);
        let tree = (*query).jointree;
        (*tree).fromlist = pg_sys::lappend((*tree).fromlist, reference(at).cast());
        value(subquery, Place { table: at, join: None, keys: 0 })
    }
}

/// Joins a query with the groups of one of its subqueries, and gives the expression that stands for that.
///
/// # Safety
/// As for [`join_all`].
unsafe fn join_groups(query: *mut Query, subquery: &Correlated) -> *mut Node {
    // SAFETY: the caller's promise; nodes are made zeroed, then their fields are set.
    unsafe {
        let groups = add_subquery(query, group(subquery), c"grouped", false);
        let joined = node::<RangeTblEntry>(NodeTag::T_RangeTblEntry);
        (*joined).rtekind = RTEKind::RTE_JOIN;
        (*joined).jointype = JoinType::JOIN_LEFT;
        (*joined).eref = pg_sys::makeAlias(c"unnamed_join".as_ptr(), std::ptr::null_mut());
        (*joined).inFromCl = true;
        let number = add_entry(query, joined);

        let tree = (*query).jointree;
        let left = match pointers::<Node>((*tree).fromlist).as_slice() {
            &[only] => only,
            _ => pg_sys::makeFromExpr((*tree).fromlist, std::ptr::null_mut()).cast(),
        };
        let keys = subquery.correlations.iter().enumerate().map(|(at, found)| key_clause(found, groups, at));
        let join = node::<JoinExpr>(NodeTag::T_JoinExpr);
        (*join).jointype = JoinType::JOIN_LEFT;
        (*join).larg = left;
        (*join).rarg = reference(groups).cast();
        (*join).quals = pg_sys::make_ands_explicit(list(keys)).cast();
        (*join).rtindex = number;
        (*tree).fromlist = list(std::iter::once(join));
        value(subquery, Place { table: groups, join: Some(number), keys: subquery.correlations.len() })
    }
}

/// The subquery, changed to give its keys and aggregates by group.
///
/// # Safety
/// As for [`join_all`].
unsafe fn group(subquery: &Correlated) -> *mut Query {
    // SAFETY: the caller's promise.
    unsafe {
        let query = subquery.query;
        let tree: *mut FromExpr = (*query).jointree;
        (*tree).quals = match subquery.conditions.as_slice() {
            [] => std::ptr::null_mut(),
            conditions => pg_sys::make_ands_explicit(list(conditions.iter().copied())).cast(),
        };
        (*query).targetList = columns(subquery, subquery.correlations.len());
        let clauses = subquery.correlations.iter().enumerate().map(|(at, correlation)| {
            let clause = node::<SortGroupClause>(NodeTag::T_SortGroupClause);
            let of = pg_sys::exprType(correlation.key);
            (*clause).tleSortGroupRef = at as u32 + 1;
            pg_sys::get_sort_group_operators(
                of,
                false,
                true,
                false,
                &raw mut (*clause).sortop,
                &raw mut (*clause).eqop,
                std::ptr::null_mut(),
                &raw mut (*clause).hashable,
            );
            clause
        });
        (*query).groupClause = list(clauses.collect::<Vec<_>>());
        query
    }
}

/// The columns of a subquery that is joined: its first keys, by which it is grouped, and its aggregates.
///
/// # Safety
/// As for [`join_all`].
unsafe fn columns(subquery: &Correlated, keys: usize) -> *mut List {
    // SAFETY: the caller's promise.
    unsafe {
        let grouped = subquery.correlations.iter().take(keys).map(|correlation| (correlation.key, c"key"));
        let calls = subquery.calls.iter().map(|call| (call.cast::<Node>(), c"aggregate"));
        let entries = grouped.chain(calls).enumerate().map(|(at, (expression, name))| {
            let copy = pg_sys::copyObjectImpl(expression.cast()).cast();
            let entry = pg_sys::makeTargetEntry(copy, at as i16 + 1, pg_sys::pstrdup(name.as_ptr()), false);
            if at < keys {
                (*entry).ressortgroupref = at as u32 + 1;
            }
            entry
        });
        list(entries.collect::<Vec<_>>())
    }
}

/// The condition by which the groups are joined: that of the subquery with the group's key.
///
/// # Safety
/// As for [`join_all`]; `groups` must be the number of the subquery among the query's tables, whose columns have been set.
unsafe fn key_clause(correlation: &Correlation, groups: i32, at: usize) -> *mut Node {
    // SAFETY: the caller's promise.
    unsafe {
        let clause = pg_sys::copyObjectImpl(correlation.clause.cast()).cast::<pg_sys::OpExpr>();
        let value = pg_sys::copyObjectImpl(correlation.value.cast()).cast::<Node>();
        pg_sys::IncrementVarSublevelsUp(value, -1, 1);
        let key = column(groups, at, correlation.key).cast::<Node>();
        let first = pointers::<Node>((*correlation.clause).args).first() == Some(&correlation.key);
        (*clause).args = list(if first { [key, value] } else { [value, key] });
        clause.cast()
    }
}

/// Where a subquery's aggregates are after it has been joined.
#[derive(Clone, Copy)]
struct Place {
    /// Its number among the tables.
    table: i32,
    /// The outer join that makes them NULL where there is no group.
    join: Option<i32>,
    /// How many keys come before them.
    keys: usize,
}

/// The subquery's value, from its columns.
///
/// # Safety
/// As for [`join_all`]; the subquery's columns must have been set.
unsafe fn value(subquery: &Correlated, place: Place) -> *mut Node {
    // SAFETY: the caller's promise.
    unsafe {
        let mut results = Results { calls: &subquery.calls, place };
        let copy = pg_sys::copyObjectImpl(subquery.value.cast()).cast::<Node>();
        let value = result(copy, (&raw mut results).cast());
        pg_sys::IncrementVarSublevelsUp(value, -1, 1);
        value
    }
}

struct Results<'a> {
    calls: &'a [*mut Aggref],
    place: Place,
}

#[pg_guard]
unsafe extern "C-unwind" fn result(node: *mut Node, context: *mut c_void) -> *mut Node {
    // SAFETY: called by `value` with its results, and by PostgreSQL's mutator with the same.
    unsafe {
        let Some(results) = context.cast::<Results<'_>>().as_ref().filter(|_| !node.is_null()) else { return node };
        if (*node).type_ != NodeTag::T_Aggref {
            return compat::mutate_expression(node, result, context);
        }
        let Some(at) = results.calls.iter().position(|call| pg_sys::equal(call.cast(), node.cast())) else {
            return node;
        };
        let Place { table, join, keys } = results.place;
        let found = column(table, keys + at, node);
        let Some(join) = join else { return found.cast() };
        compat::add_nulling_join(found, join);
        if is_count(&*node.cast::<Aggref>()) { or_zero(found) } else { found.cast() }
    }
}

/// # Safety
/// `count` must be a column of type bigint.
unsafe fn or_zero(count: *mut Var) -> *mut Node {
    // SAFETY: nodes are made zeroed, then their fields are set.
    unsafe {
        let zero = pg_sys::makeConst(pg_sys::INT8OID, -1, pg_sys::InvalidOid, 8, 0.into(), false, true);
        let either = node::<CoalesceExpr>(NodeTag::T_CoalesceExpr);
        (*either).coalescetype = pg_sys::INT8OID;
        (*either).args = list([count.cast::<Node>(), zero.cast()]);
        (*either).location = -1;
        either.cast()
    }
}

/// A column of a joined subquery, numbered from 0, with the type of what it holds.
///
/// # Safety
/// `of` must be an expression.
unsafe fn column(table: i32, at: usize, of: *mut Node) -> *mut Var {
    // SAFETY: the caller's promise.
    unsafe {
        let (kind, modifier, collation) = (pg_sys::exprType(of), pg_sys::exprTypmod(of), pg_sys::exprCollation(of));
        pg_sys::makeVar(table as _, at as i16 + 1, kind, modifier, collation, 0)
    }
}

/// Names of columns, as aliases want them.
///
/// # Safety
/// `entries` must be a target list.
unsafe fn names(entries: *mut List) -> *mut List {
    // SAFETY: the caller's promise; the names are strings of their own.
    unsafe {
        let strings = pointers::<TargetEntry>(entries).into_iter().map(|entry| pg_sys::makeString((*entry).resname));
        list(strings.collect::<Vec<_>>())
    }
}

/// Adds a subquery to a query's tables; gives its number.
///
/// # Safety
/// Both must be valid queries, the second one's columns named.
unsafe fn add_subquery(query: *mut Query, subquery: *mut Query, name: &CStr, lateral: bool) -> i32 {
    // SAFETY: the caller's promise; the node is made zeroed, then its fields are set.
    unsafe {
        let entry = node::<RangeTblEntry>(NodeTag::T_RangeTblEntry);
        (*entry).rtekind = RTEKind::RTE_SUBQUERY;
        (*entry).subquery = subquery;
        (*entry).alias = pg_sys::makeAlias(name.as_ptr(), std::ptr::null_mut());
        (*entry).eref = pg_sys::makeAlias(name.as_ptr(), names((*subquery).targetList));
        (*entry).lateral = lateral;
        (*entry).inFromCl = true;
        add_entry(query, entry)
    }
}

/// A table in FROM.
///
/// # Safety
/// `table` must be its number.
unsafe fn reference(table: i32) -> *mut RangeTblRef {
    // SAFETY: the node is made zeroed, then its field is set.
    unsafe {
        let found = node::<RangeTblRef>(NodeTag::T_RangeTblRef);
        (*found).rtindex = table;
        found
    }
}

/// Adds a table to a query; gives its number.
///
/// # Safety
/// `query` must be a valid query.
unsafe fn add_entry(query: *mut Query, entry: *mut RangeTblEntry) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        (*query).rtable = pg_sys::lappend((*query).rtable, entry.cast());
        (*(*query).rtable).length
    }
}

/// A zeroed node.
///
/// # Safety
/// `tag` must be that of the type.
unsafe fn node<T>(tag: NodeTag) -> *mut T {
    // SAFETY: memory of the node's size; every node begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<T>();
        (*node.cast::<Node>()).type_ = tag;
        node
    }
}
