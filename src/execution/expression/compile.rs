//! From PostgreSQL's expressions to nodes.

use super::call::Call;
use super::logic::Connective;
use super::membership::Membership;
use super::native::{Native, Way};
use super::row_by_row::RowByRow;
use super::{Node, Op, Program, Root, kind_of};
use crate::execution::batch::{Comparison, Kind};
use crate::pg::compat::pointers;
use crate::pg::error::OrochiError;
use pgrx::pg_sys::{self, NodeTag, Oid};

/// Adds expressions to a program.
pub struct Compiler {
    /// `varno` of the Vars that are inputs, whose numbers are their attribute numbers less one.
    relation: i32,
    /// Inputs by number.
    inputs: Vec<Option<Kind>>,
    /// The node that evaluates.
    parent: *mut pg_sys::PlanState,
    /// The slot whose columns are the inputs.
    slot: *mut pg_sys::TupleTableSlot,
    program: Program,
    /// The expression of each node of the program.
    expressions: Vec<*mut pg_sys::Node>,
}

impl Compiler {
    /// With an empty program.
    pub fn new(
        relation: i32,
        inputs: Vec<Option<Kind>>,
        parent: *mut pg_sys::PlanState,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Self {
        Self { relation, inputs, parent, slot, program: Program::default(), expressions: Vec::new() }
    }

    /// The program.
    pub fn finish(self) -> Program {
        self.program
    }

    /// Adds an expression.
    ///
    /// # Safety
    /// `expression` must be one of the parent's plan, in its final form; the current memory context must live as long as the parent. Here and below
    /// each node has the type that its tag says.
    pub unsafe fn add(&mut self, expression: *mut pg_sys::Node) -> Result<Root, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            // PostgreSQL checks here whether the user may call the functions.
            pg_sys::ExecInitExpr(expression.cast(), self.parent);
            self.node(expression).map(Root)
        }
    }

    unsafe fn node(&mut self, expression: *mut pg_sys::Node) -> Result<usize, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let known = self.expressions.iter().position(|known| pg_sys::equal(known.cast(), expression.cast()));
            if let Some(known) = known {
                return Ok(known);
            }
            if (*expression).type_ == NodeTag::T_RelabelType {
                let argument = (*expression.cast::<pg_sys::RelabelType>()).arg.cast::<pg_sys::Node>();
                if kind_of(pg_sys::exprType(argument)) == kind_of(pg_sys::exprType(expression)) {
                    return self.node(argument);
                }
            }
            let type_oid = pg_sys::exprType(expression);
            let Some(kind) = kind_of(type_oid) else {
                return Err(OrochiError::Internal(format!("an expression of type {type_oid} cannot be vectorized")));
            };
            let op = match self.op(expression, kind)? {
                Some(op) => op,
                None => Op::RowByRow(Box::new(self.row_by_row(expression))),
            };
            let lasting = matches!(op, Op::Same(_));
            self.program.nodes.push(Node { op, kind, known: None, lasting });
            self.expressions.push(expression);
            Ok(self.program.nodes.len() - 1)
        }
    }

    /// `None` for what PostgreSQL has to evaluate.
    unsafe fn op(&mut self, expression: *mut pg_sys::Node, kind: Kind) -> Result<Option<Op>, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            if !pg_sys::contain_var_clause(expression) && !pg_sys::contain_subplans(expression) {
                return Ok(Some(Op::Same(self.row_by_row(expression))));
            }
            match (*expression).type_ {
                NodeTag::T_Var => Ok(self.input(&*expression.cast())),
                NodeTag::T_OpExpr => {
                    let call = expression.cast::<pg_sys::OpExpr>();
                    pg_sys::set_opfuncid(call);
                    if (*call).opretset {
                        return Ok(None);
                    }
                    let native = self.operator(&*call);
                    self.call((*call).opfuncid, (*call).inputcollid, (*call).args, expression, kind, native).map(Some)
                }
                NodeTag::T_FuncExpr => {
                    let call = expression.cast::<pg_sys::FuncExpr>();
                    if (*call).funcretset || (*call).funcvariadic {
                        return Ok(None);
                    }
                    let native = Native::of_function((*call).funcid);
                    self.call((*call).funcid, (*call).inputcollid, (*call).args, expression, kind, native).map(Some)
                }
                NodeTag::T_BoolExpr => self.boolean(&*expression.cast()).map(Some),
                NodeTag::T_NullTest => {
                    let test = expression.cast::<pg_sys::NullTest>();
                    if (*test).argisrow || pg_sys::type_is_rowtype(pg_sys::exprType((*test).arg.cast())) {
                        return Ok(None);
                    }
                    let argument = self.node((*test).arg.cast())?;
                    Ok(Some(Op::IsNull((*test).nulltesttype == pg_sys::NullTestType::IS_NULL, argument)))
                }
                NodeTag::T_CaseExpr => self.case(&*expression.cast()),
                NodeTag::T_CoalesceExpr => {
                    let choices = pointers((*expression.cast::<pg_sys::CoalesceExpr>()).args);
                    Ok(Some(Op::Coalesce(self.nodes(&choices)?)))
                }
                NodeTag::T_ScalarArrayOpExpr => self.among(&*expression.cast()),
                _ => Ok(None),
            }
        }
    }

    unsafe fn nodes(&mut self, expressions: &[*mut pg_sys::Node]) -> Result<Vec<usize>, OrochiError> {
        // SAFETY: the caller's promise.
        expressions.iter().map(|expression| unsafe { self.node(*expression) }).collect()
    }

    fn input(&self, var: &pg_sys::Var) -> Option<Op> {
        let number = usize::try_from(var.varattno).ok()?.checked_sub(1)?;
        (var.varno == self.relation && var.varlevelsup == 0 && self.inputs.get(number)?.is_some())
            .then_some(Op::Input(number))
    }

    unsafe fn operator(&self, call: &pg_sys::OpExpr) -> Option<Native> {
        // SAFETY: the caller's promise; catalog look-ups.
        unsafe {
            Native::of_function(call.opfuncid).or_else(|| {
                let &[left, right] = pointers::<pg_sys::Node>(call.args).as_slice() else { return None };
                Native::of_comparison(call.opno, pg_sys::exprType(left), pg_sys::exprType(right), call.inputcollid)
            })
        }
    }

    unsafe fn call(
        &mut self,
        function: Oid,
        collation: Oid,
        arguments: *mut pg_sys::List,
        expression: *mut pg_sys::Node,
        kind: Kind,
        native: Option<Native>,
    ) -> Result<Op, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let arguments = pointers::<pg_sys::Node>(arguments);
            // What has no column, such as a C string, is PostgreSQL's business, and so are functions that look at how they are called.
            let plain = arguments.iter().all(|argument| kind_of(pg_sys::exprType(*argument)).is_some());
            if !plain || arguments.is_empty() || pg_sys::contain_subplans(expression) {
                return Ok(Op::RowByRow(Box::new(self.row_by_row(expression))));
            }
            let native = native.or_else(|| Native::of_like(function, collation));
            let numbers = self.nodes(&arguments)?;
            let memory = (*(*self.parent).ps_ExprContext).ecxt_per_tuple_memory;
            let call = Call::new(function, collation, expression, arguments.len(), kind, native, memory);
            Ok(Op::Call(Box::new(call), numbers))
        }
    }

    unsafe fn boolean(&mut self, expression: &pg_sys::BoolExpr) -> Result<Op, OrochiError> {
        // SAFETY: the caller's promise.
        let arguments = unsafe { self.nodes(&pointers(expression.args))? };
        Ok(match (expression.boolop, arguments.as_slice()) {
            (pg_sys::BoolExprType::NOT_EXPR, [argument]) => Op::Not(*argument),
            (pg_sys::BoolExprType::AND_EXPR, _) => Op::Connect(Connective::And, arguments),
            _ => Op::Connect(Connective::Or, arguments),
        })
    }

    /// Of a CASE with an argument the conditions refer to it by a node of their own, which PostgreSQL has to resolve.
    unsafe fn case(&mut self, case: &pg_sys::CaseExpr) -> Result<Option<Op>, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            if !case.arg.is_null() {
                return Ok(None);
            }
            let mut branches = Vec::new();
            for branch in pointers::<pg_sys::CaseWhen>(case.args) {
                branches.push((self.node((*branch).expr.cast())?, self.node((*branch).result.cast())?));
            }
            let otherwise = match case.defresult.is_null() {
                true => None,
                false => Some(self.node(case.defresult.cast())?),
            };
            Ok(Some(Op::Case(branches, otherwise)))
        }
    }

    unsafe fn among(&mut self, expression: &pg_sys::ScalarArrayOpExpr) -> Result<Option<Op>, OrochiError> {
        // SAFETY: the caller's promise.
        unsafe {
            let &[value, array] = pointers::<pg_sys::Node>(expression.args).as_slice() else { return Ok(None) };
            if pg_sys::contain_var_clause(array) || pg_sys::contain_subplans(array) {
                return Ok(None);
            }
            let element = pg_sys::get_element_type(pg_sys::exprType(array));
            let left = pg_sys::exprType(value);
            let compared = Native::of_comparison(expression.opno, left, element, expression.inputcollid);
            let (way, negated) = match (compared, expression.useOr) {
                (Some(Native::Compare(Comparison::Equal, way)), true) => (way, false),
                (Some(Native::Compare(Comparison::NotEqual, way)), false) => (way, true),
                _ => return Ok(None),
            };
            if !matches!(way, Way::Words | Way::Content | Way::Padded) {
                return Ok(None);
            }
            let value = self.node(value)?;
            let array = self.row_by_row(array);
            Ok(Some(Op::Among(Box::new(Membership::new(array, element, way, negated)), value)))
        }
    }

    unsafe fn row_by_row(&self, expression: *mut pg_sys::Node) -> RowByRow {
        // SAFETY: the caller's promise.
        unsafe {
            let mut inputs = Vec::new();
            let flags = (pg_sys::PVC_RECURSE_AGGREGATES
                | pg_sys::PVC_RECURSE_PLACEHOLDERS
                | pg_sys::PVC_RECURSE_WINDOWFUNCS) as i32;
            for var in pointers::<pg_sys::Var>(pg_sys::pull_var_clause(expression, flags)) {
                if let Some(Op::Input(number)) = self.input(&*var)
                    && !inputs.contains(&number)
                {
                    inputs.push(number);
                }
            }
            RowByRow {
                state: pg_sys::ExecInitExpr(expression.cast(), self.parent),
                context: (*self.parent).ps_ExprContext,
                slot: self.slot,
                inputs,
            }
        }
    }
}
