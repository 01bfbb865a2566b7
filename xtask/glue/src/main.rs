//! Makes the JavaScript beside a wasm file: `glue INPUT FOLDER` writes `tidewire.js`,
//! `tidewire_bg.wasm` and their types. It is what the program wasm-bindgen does, built here so
//! that Cargo.lock says its version, which must be that of the library. A crate of its own, since
//! `xtask` has to start at once.

mod smaller;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let made = match &arguments[..] {
        [input, folder] => make(input, folder),
        _ => Err("call it as `glue INPUT FOLDER`, or better run `cargo xtask web`".to_owned()),
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(told) => {
            #[expect(clippy::print_stderr, reason = "it tells whoever runs it why it failed")]
            {
                eprintln!("{told}");
            }
            ExitCode::FAILURE
        }
    }
}

fn make(input: &str, folder: &str) -> Result<(), String> {
    let mut bindgen = Bindgen::new();
    // Who made it differs from machine to machine, and names are only for a debugger.
    bindgen.input_path(input).out_name("tidewire").typescript(true);
    bindgen.remove_name_section(true).remove_producers_section(true);
    let web = bindgen.web(true).map_err(|error| format!("{error:#}"))?;
    web.generate(folder).map_err(|error| format!("{input}: {error:#}"))?;
    make_smaller(Path::new(folder)).map_err(|error| format!("{folder}: {error}"))
}

fn make_smaller(folder: &Path) -> Result<(), String> {
    let (script, wasm) = (folder.join("tidewire.js"), folder.join("tidewire_bg.wasm"));
    let text = fs::read_to_string(&script).map_err(|error| error.to_string())?;
    let bytes = fs::read(&wasm).map_err(|error| error.to_string())?;
    let (text, bytes) = smaller::smaller(&text, &bytes)?;
    fs::write(script, text).and_then(|()| fs::write(wasm, bytes)).map_err(|error| error.to_string())
}
