//! What a wasm file wants of whoever runs it.

/// What wasm-bindgen resolves: the modules that its macro names, and none else.
const OF_WASM_BINDGEN: &str = "__wbindgen_";

/// The section of a wasm file that lists its imports.
const IMPORT_SECTION: u8 = 2;

/// What a wasm file imports that nobody gives it in a browser, as `module.name`. None when it is
/// no wasm file that this can read.
pub(super) fn unknown(wasm: &[u8]) -> Option<Vec<String>> {
    let mut rest = Reader(wasm.strip_prefix(b"\0asm\x01\0\0\0")?);
    while !rest.0.is_empty() {
        let id = rest.byte()?;
        let section = rest.bytes()?;
        if id == IMPORT_SECTION {
            return imports(Reader(section));
        }
    }
    Some(Vec::new())
}

fn imports(mut section: Reader<'_>) -> Option<Vec<String>> {
    let count = section.number()?;
    let mut unknown = Vec::new();
    for _ in 0..count {
        let (module, name) = (section.text()?, section.text()?);
        match section.byte()? {
            // A function, by the number of its type.
            0 => {
                section.number()?;
            }
            // A table: what is in it, and how large it may be.
            1 => {
                section.byte()?;
                section.limits()?;
            }
            // A memory.
            2 => section.limits()?,
            // A global: its type, and whether it may be changed.
            3 => {
                section.byte()?;
                section.byte()?;
            }
            _ => return None,
        }
        if !module.starts_with(OF_WASM_BINDGEN) {
            unknown.push(format!("{module}.{name}"));
        }
    }
    Some(unknown)
}

/// The part of a wasm file that is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Seven bits in each byte, the lowest ones first; the last byte is below 128.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The least size and, when the first bit says so, the largest.
    fn limits(&mut self) -> Option<()> {
        let flags = self.number()?;
        self.number()?;
        if flags & 1 == 1 {
            self.number()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wasm file with a section of another kind, and these imports.
    fn wasm(imports: &[(&str, &str, &[u8])]) -> Vec<u8> {
        let mut section = vec![u8::try_from(imports.len()).unwrap()];
        for (module, name, kind) in imports {
            for text in [module, name] {
                section.push(u8::try_from(text.len()).unwrap());
                section.extend(text.as_bytes());
            }
            section.extend(*kind);
        }
        let mut wasm = b"\0asm\x01\0\0\0\x01\x02xy\x02".to_vec();
        // In two bytes, though one would do for a short one.
        wasm.extend([u8::try_from(section.len() & 0x7f).unwrap() | 0x80]);
        wasm.extend([u8::try_from(section.len() >> 7).unwrap()]);
        wasm.extend(section);
        wasm
    }

    #[test]
    fn what_wasm_bindgen_does_not_know_is_named() {
        let known: (&str, &str, &[u8]) = ("__wbindgen_placeholder__", "__wbg_x", &[0, 0x80, 1]);
        let imports: [(&str, &str, &[u8]); 5] = [
            ("env", "memory", &[2, 1, 17, 0x80, 2]),
            known,
            ("env", "table", &[1, 0x70, 0, 3]),
            ("env", "stack", &[3, 0x7f, 1]),
            ("env", "malloc", &[0, 7]),
        ];
        let expected = ["env.memory", "env.table", "env.stack", "env.malloc"].map(str::to_owned);
        assert_eq!(unknown(&wasm(&imports)), Some(expected.to_vec()));
        assert_eq!(unknown(&wasm(&[known])), Some(Vec::new()));
        assert_eq!(unknown(b"\0asm\x01\0\0\0"), Some(Vec::new()), "without imports");
    }

    #[test]
    fn what_is_no_wasm_file_is_not_taken_for_one() {
        let whole = wasm(&[("env", "malloc", &[0, 7])]);
        for bytes in [&b"<!doctype html>"[..], b"", &whole[..whole.len() - 1]] {
            assert_eq!(unknown(bytes), None);
        }
    }
}
