use super::*;

const EXAMPLE: &str = include_str!("../../tidewire.example.toml");

#[test]
fn the_example_has_every_key_with_its_default() {
    let example: toml::Table = EXAMPLE.parse().unwrap();
    assert_eq!(example, toml::Table::try_from(Config::default()).unwrap());
    assert_eq!(Config::parse(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn every_key_of_the_example_is_annotated() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for pair in lines.windows(2) {
        if pair[1].contains(" = ") && !pair[1].starts_with('#') {
            assert!(pair[0].starts_with('#'), "{}", pair[1]);
        }
    }
}

#[test]
fn an_empty_file_is_the_defaults_which_are_in_range() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn defaults_are_those_of_the_parts() {
    let config = Config::default();
    let (rocks, default) = (config.storage.rocks(), RocksOptions::default());
    assert_eq!(format!("{rocks:?}"), format!("{default:?}"));
    let (node, default) = (config.node(), server_replication::Settings::default());
    assert_eq!(format!("{node:?}"), format!("{default:?}"));
    assert_eq!(config.sql.query(0), server_query::Settings::default());
    let (sql_bytes_max, params_max) = (server_query::SQL_BYTES_MAX, server_query::PARAMS_MAX);
    let mut default = Limits::default();
    (default.sql_bytes_max, default.params_max) = (sql_bytes_max, params_max);
    assert_eq!(config.gateway(), default);
}

#[test]
fn an_error_names_the_key() {
    for (text, told) in [
        ("dta = \"x\"", "dta"),
        ("[shards]\nuser = 0", "shards.user is 0: set it to something from 1 to 64"),
        ("[shards]\nuser = -1", "user"),
        ("[shards]\nusers = 1", "users"),
        ("[storage]\nlog_bytes_kept = 33554433", "storage.log_bytes_kept"),
        ("[sql]\nstatement_seconds = 0", "sql.statement_seconds"),
        ("[http]\nbody_bytes_max = \"large\"", "body_bytes_max"),
        ("[log]\nlevel = \"loud\"", "level"),
        ("listen = \"nowhere\"", "listen"),
    ] {
        let error = format!("{:#}", Config::parse(text).unwrap_err());
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn what_is_named_at_the_start_comes_first() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 1));
    let named =
        Named { data: Some("elsewhere".into()), listen: Some(listen), files: Some("web".into()) };
    let config = Config::load(None, named).unwrap();
    assert_eq!((config.data, config.listen), ("elsewhere".into(), listen));
    assert_eq!(config.files.folder, PathBuf::from("web"));
}
