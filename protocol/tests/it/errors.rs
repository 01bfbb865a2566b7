//! Q3: every code is explained where its anchor points.

use protocol::codec::{decode, encode};
use protocol::error_code::ErrorCode;

#[test]
fn every_code_has_its_place_in_the_documentation() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ERRORS.md");
    let text = std::fs::read_to_string(pages).unwrap();
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(headings, codes, "docs/ERRORS.md explains the codes, in their order");
    assert_eq!(ErrorCode::TooLarge.documentation(), "docs/ERRORS.md#too_large");
}

#[test]
fn a_code_is_sent_as_its_text() {
    for code in ErrorCode::ALL {
        assert_eq!(encode(code), encode(code.as_str()));
    }
    let later = decode::<ErrorCode>(&encode("a_code_of_a_later_version"), 100).unwrap();
    assert_eq!(later, ErrorCode::Unknown);
    assert!(later.may_retry());
}
