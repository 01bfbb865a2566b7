//! How large things may grow, and how a test may be switched off.

use super::{File, Findings};
use crate::shell::say;
use crate::soak::SOAKS;

/// A file beyond this is pointed out.
const FILE_LINES_MAX: usize = 600;

/// A function beyond this is refused.
const FUNCTION_LINES_MAX: usize = 70;

pub(super) fn check(files: &[File]) -> Findings {
    let mut findings = Findings::new();
    let mut soaks = Vec::new();
    let mut tests = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let path = &file.path;
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            say(&format!("note: {path} has {lines} lines: would a newcomer find the way in it?"));
        }
        for (number, length) in long_functions(&file.text) {
            findings.push(format!(
                "{path}:{number}: the function has {length} lines, at most {FUNCTION_LINES_MAX}: \
                 give a part of it a name"
            ));
        }
        if path.starts_with("xtask/src") || path.starts_with("xtask/seeds") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if line.trim() == "#[ignore]" {
                let number = number + 1;
                findings.push(format!("{path}:{number}: say why the test is switched off"));
            }
            soaks.extend(soak_name(line).map(str::to_owned));
        }
        tests.extend(SOAKS.iter().map(|soak| soak.test).filter(|test| {
            let function = test.rsplit("::").next().unwrap_or(test);
            file.text.contains(&format!("fn {function}()"))
        }));
    }
    for file in files.iter().filter(|file| file.path.ends_with(".test.mjs")) {
        soaks.extend(file.text.lines().filter_map(soak_name).map(str::to_owned));
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        tests.extend(SOAKS.iter().map(|soak| soak.test).filter(|test| *test == name));
    }
    for name in &soaks {
        if !SOAKS.iter().any(|soak| soak.name == name) {
            findings.push(format!("{name:?} is not in the table of xtask/src/soak.rs"));
        }
    }
    for soak in SOAKS {
        if !soaks.iter().any(|name| name == soak.name) {
            findings.push(format!("no test is called {:?}, as xtask/src/soak.rs says", soak.name));
        }
        if !tests.contains(&soak.test) {
            findings.push(format!("there is no test {}, as xtask/src/soak.rs says", soak.test));
        }
    }
    findings
}

/// The functions that are too long: the line of their head, and their length. Relies on rustfmt:
/// a function ends with a brace that is as far in as its head.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut long = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let head = line.trim_start();
        if head.starts_with("fn ") || head.contains(" fn ") && is_function(head) {
            open.push((number, indent));
        }
        if head == "}" && open.last().is_some_and(|(_, opened)| *opened == indent) {
            let Some((start, _)) = open.pop() else { continue };
            let length = number - start + 1;
            if length > FUNCTION_LINES_MAX {
                long.push((start + 1, length));
            }
        } else if (head.ends_with(" }") || head.ends_with(';'))
            && open.last().is_some_and(|(_, opened)| *opened == indent)
        {
            // The whole function is on this line, or the end of a signature without a body.
            open.pop();
        }
    }
    long
}

fn is_function(head: &str) -> bool {
    let before = head.split(" fn ").next().unwrap_or_default();
    let words = ["pub", "const", "async", "unsafe", "extern", "in"];
    let is_word = |word: &str| words.contains(&word) || word.starts_with(['"', '(']);
    before.split(' ').all(|word| is_word(word) || word.starts_with("pub(") || word.ends_with(')'))
}

/// The name in a call of the crate `seeds`, or of what does the same in JavaScript.
fn soak_name(line: &str) -> Option<&str> {
    let (_, call) = line.split_once("seeds::").or_else(|| line.split_once("seeds."))?;
    let calls = ["check(", "for_each(", "forEach("];
    let call = calls.iter().find_map(|start| call.strip_prefix(start))?;
    call.strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_is_found_and_a_short_one_behind_it_is_not() {
        let body = "        let x = 1;\n".repeat(FUNCTION_LINES_MAX - 1);
        let text = format!(
            "impl X {{\n    pub(crate) fn one() {{ 1 }}\n    fn long(\n        &self,\n    ) {{\n\
             {body}    }}\n    fn short() {{\n    }}\n    fn declared();\n    fn declared_wide(\n    \
             ) -> u8;\n{body}}}\npub(in crate::x) fn other() {{\n{body}}}\n"
        );
        let other = text.lines().position(|line| line.contains("other")).unwrap() + 1;
        let expected = [(3, FUNCTION_LINES_MAX + 3), (other, FUNCTION_LINES_MAX + 1)];
        assert_eq!(long_functions(&text), expected);
    }

    #[test]
    fn the_name_of_a_soak_is_read_from_its_call() {
        assert_eq!(soak_name("    seeds::check(\"keys\", 20, &x, |y| {"), Some("keys"));
        assert_eq!(soak_name("    seeds::for_each(\"kill\", 6, |seed| {"), Some("kill"));
        assert_eq!(soak_name("  await seeds.forEach(\"cut\", 1, (seed) => {"), Some("cut"));
        assert_eq!(soak_name("use seeds::check;"), None);
    }
}
