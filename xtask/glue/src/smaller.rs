//! Makes what wasm-bindgen has made smaller to download, and the same on every machine.
//!
//! * Each function that the wasm imports has sixteen digits of a hash in its name, which nobody can compress, in the
//!   wasm and in the JavaScript. A number as long takes their place, so that nothing moves in the wasm.
//! * An object that a sentence names for a developer is described in fifty lines. What `String` makes of it will do.

use std::collections::{BTreeMap, BTreeSet};

/// How long a hash is.
const DIGITS: usize = 16;

/// The last of these is a hash. It stands at the end of a name, or before another number.
const BEFORE_HASH: [&str; 2] = ["__wbg_", "wasm_bindgen__"];

const DESCRIBE: &str = "function debugString(val) {";
const DESCRIBE_SHORTLY: &str = "function debugString(val) {\n    return String(val);\n}\n";

/// The JavaScript and the wasm with numbers in the place of hashes, and with a short description.
///
/// # Errors
/// They are not as this version of wasm-bindgen makes them.
pub(crate) fn smaller(script: &str, wasm: &[u8]) -> Result<(String, Vec<u8>), String> {
    let mut script = with_short_description(script)?;
    let mut wasm = wasm.to_vec();
    let mut counts = BTreeMap::<String, u64>::new();
    for name in names(&script) {
        let before = &name[..name.len() - DIGITS];
        let count = counts.entry(before.to_owned()).or_default();
        let number = format!("{before}{count:016}");
        *count += 1;
        script = script.replace(&name, &number);
        if replace(&mut wasm, name.as_bytes(), number.as_bytes()) == 0 {
            return Err(format!(
                "the wasm has nothing of the name {name}, which the JavaScript has"
            ));
        }
    }
    match counts.is_empty() {
        true => Err("no name has a hash: look how wasm-bindgen names what is imported".to_owned()),
        false => Ok((script, wasm)),
    }
}

fn with_short_description(script: &str) -> Result<String, String> {
    let begin = script.find(DESCRIBE).ok_or("wasm-bindgen does not describe objects any more")?;
    let (_, end) = script[begin..].split_once("\n}\n").ok_or("a function has no end")?;
    Ok(format!("{}{DESCRIBE_SHORTLY}{end}", &script[..begin]))
}

/// All names that have a hash, up to that, each once.
fn names(script: &str) -> BTreeSet<String> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '$';
    let words = script.split(|char| !is_part(char));
    let named = words.filter(|word| BEFORE_HASH.iter().any(|it| word.starts_with(it)));
    named.filter_map(|name| Some(name[..end_of_hash(name)?].to_owned())).collect()
}

/// Where the hash ends in a name.
fn end_of_hash(name: &str) -> Option<usize> {
    let is_hash = |part: &str| {
        let digits = part.strip_prefix('h').unwrap_or(part);
        digits.len() == DIGITS && digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut end = name.len();
    for part in name.rsplit('_') {
        if is_hash(part) {
            return Some(end);
        }
        end = end.saturating_sub(part.len() + 1);
    }
    None
}

/// Puts one in the place of each of the others, which is as long. Says how many there were.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    let places: Vec<_> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, it)| *it == from)
        .map(|(at, _)| at)
        .collect();
    for at in &places {
        bytes[*at..*at + to.len()].copy_from_slice(to);
    }
    places.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "a.__wbg_get_0123456789abcdef(); b.__wbg_get_fedcba9876543210();\n\
                          c.wasm_bindgen__invoke__h0123456789abcdef_41; d.__wbg_core_free;\n\
                          function debugString(val) {\n    if (val) {\n    }\n    return 1;\n}\nrest";

    #[test]
    fn hashes_become_numbers_on_both_sides_and_nothing_moves() {
        let wasm = b"..__wbg_get_0123456789abcdef.__wbg_get_fedcba9876543210.\
                     wasm_bindgen__invoke__h0123456789abcdef_41.__wbg_core_free";
        let (script, smaller) = smaller(SCRIPT, wasm).unwrap();
        assert_eq!(
            script,
            "a.__wbg_get_0000000000000000(); b.__wbg_get_0000000000000001();\n\
             c.wasm_bindgen__invoke__h0000000000000000_41; d.__wbg_core_free;\n\
             function debugString(val) {\n    return String(val);\n}\nrest"
        );
        assert_eq!(smaller.len(), wasm.len());
        let smaller = String::from_utf8(smaller).unwrap();
        assert!(
            smaller.starts_with("..__wbg_get_0000000000000000.__wbg_get_0000000000000001."),
            "{smaller}"
        );
        assert!(smaller.ends_with("__invoke__h0000000000000000_41.__wbg_core_free"), "{smaller}");
    }

    #[test]
    fn what_is_not_as_it_was_is_said() {
        assert!(smaller("function other() {}", b"").is_err());
        assert!(
            smaller("function debugString(val) {\n}\nnothing", b"").unwrap_err().contains("hash")
        );
        assert!(smaller(SCRIPT, b"").unwrap_err().contains("the wasm has nothing"));
    }
}
