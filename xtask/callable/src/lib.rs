//! `#[test]` where there is no harness: whoever has the wasm calls each test by its name.
//!
//! The harness of Rust needs a program's arguments, its output, and a way on after a panic, and a browser
//! has none of them. So each test is a function that the wasm exports as `test FILE::NAME`, as the harness
//! would call it. `#[macro_use] extern crate callable` at the top of a crate is all: its tests stay as they
//! are.

use std::path::Path;

use proc_macro::{Ident, Span, TokenStream, TokenTree};

/// In place of the attribute of the same name.
#[proc_macro_attribute]
pub fn test(_: TokenStream, function: TokenStream) -> TokenStream {
    let Some(name) = name(&function) else {
        return r#"compile_error!("a test is a function");"#.parse().unwrap_or_default();
    };
    let file = Span::call_site().file();
    let module = Path::new(&file).file_stem().unwrap_or_default().to_string_lossy();
    let exported = format!(
        "const _: () = {{
            #[expect(unsafe_code, reason = \"no other symbol has a name like this\")]
            #[unsafe(export_name = \"test {module}::{name}\")]
            extern \"C\" fn call() {{ {name}() }}
        }};"
    );
    let exported: TokenStream = exported.parse().unwrap_or_default();
    function.into_iter().chain(exported).collect()
}

/// The name behind `fn`.
fn name(function: &TokenStream) -> Option<Ident> {
    let mut tokens = function.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    match tokens.next()? {
        TokenTree::Ident(name) => Some(name),
        _ => None,
    }
}
