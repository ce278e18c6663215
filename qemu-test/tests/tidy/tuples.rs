//! Tuples: none as a function's parameter, none compared by an assertion.

use super::exempt::{Breaches, assert_kept};
use super::workspace::sources;
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{FnArg, Macro, Signature, Type};

/// Crates that still have tuples as parameters or in assertions.
const WITH_TUPLES: &[&str] = &[];

const ASSERTIONS: [&str; 6] =
    ["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];

/// Tuples of a file that the rule forbids, each as a line of text.
#[derive(Default)]
struct Tuples {
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Tuples {
    fn visit_signature(&mut self, signature: &'ast Signature) {
        if signature.inputs.iter().any(is_tuple) {
            let line = signature.ident.span().start().line;
            self.found.push(format!("line {line}: `{}` has a parameter that is a tuple", signature.ident));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        let name = called.path.segments.last().map(|segment| segment.ident.to_string());
        if name.is_some_and(|name| ASSERTIONS.contains(&name.as_str())) && compares_tuple(&called.tokens) {
            let line = called.path.span().start().line;
            self.found.push(format!("line {line}: an assertion compares tuples"));
        }
        visit::visit_macro(self, called);
    }
}

fn is_tuple(parameter: &FnArg) -> bool {
    let FnArg::Typed(parameter) = parameter else { return false };
    let mut kind = &*parameter.ty;
    while let Type::Reference(reference) = kind {
        kind = &reference.elem;
    }
    matches!(kind, Type::Tuple(tuple) if !tuple.elems.is_empty())
}

/// Whether a tuple stands as an argument of a macro, or as a side of a comparison.
fn compares_tuple(arguments: &TokenStream) -> bool {
    let mut at_start = true;
    for token in arguments.clone() {
        match token {
            TokenTree::Group(group) if at_start && group.delimiter() == Delimiter::Parenthesis => {
                if has_comma(group.stream()) {
                    return true;
                }
                at_start = false;
            }
            TokenTree::Punct(sign) => at_start = begins_operand(sign.as_char(), sign.spacing()),
            _ => at_start = false,
        }
    }
    false
}

/// Whether an operand begins after a sign: an argument, a side of `==`, or a value behind `&`.
fn begins_operand(sign: char, spacing: Spacing) -> bool {
    matches!(sign, ',' | '&') || (sign == '=' && spacing == Spacing::Alone)
}

fn has_comma(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ','))
}

fn tuples_of(text: &str) -> Vec<String> {
    let mut tuples = Tuples::default();
    tuples.visit_file(&syn::parse_file(text).unwrap());
    tuples.found
}

#[test]
fn tuples_are_neither_parameters_nor_compared() {
    let found: Breaches = sources().into_iter().map(|(name, text)| (name, tuples_of(&text))).collect();
    assert_kept("tuples", WITH_TUPLES, &found);
}

#[test]
fn a_tuple_is_found_among_parameters_and_not_in_closures() {
    let text = "fn bad(x: u8, (a, b): (u8, u8)) {}\nfn also(p: &(u8, u8)) {}\n\
                fn good(list: &[(u8, u8)]) { list.iter().map(|(a, b): &(u8, u8)| a); }\n";
    let said = |line: u8, name: &str| format!("line {line}: `{name}` has a parameter that is a tuple");
    assert_eq!(tuples_of(text), [said(1, "bad"), said(2, "also")]);
}

#[test]
fn a_tuple_is_found_on_either_side_of_an_assertion() {
    for bad in
        ["assert_eq!((a, b), c)", "assert_ne!(c, (a, b))", "assert!((a, b) == c)", "assert!(c == (a, b))"]
    {
        let text = format!("fn f() {{ {bad}; }}");
        assert_eq!(tuples_of(&text), ["line 1: an assertion compares tuples"], "{bad}");
    }
}

#[test]
fn calls_and_lists_of_pairs_may_stand_in_assertions() {
    for good in ["assert_eq!(f(a, b), c)", "assert_eq!(list, [(a, b)])", "assert!((a + b) == c)"] {
        assert_eq!(tuples_of(&format!("fn f() {{ {good}; }}")), [""; 0], "{good}");
    }
}
