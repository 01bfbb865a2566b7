use super::*;

#[test]
fn an_insert_says_where_and_what() {
    let told = |sql: &str| insertion(sql).map(|found| (found.table, found.columns));
    let named =
        |names: &[&str]| Columns::Named(names.iter().map(|name| (*name).to_owned()).collect());
    let of = |columns| Some(("t".to_owned(), columns));
    assert_eq!(
        told("INSERT INTO t (a, \"B\" , [c]) VALUES (1, (2), 3)"),
        of(named(&["a", "b", "c"]))
    );
    assert_eq!(told("insert or replace into \"T\" AS x(a) SELECT 1"), of(named(&["a"])));
    assert_eq!(told("REPLACE INTO t DEFAULT VALUES"), of(named(&[])));
    assert_eq!(told("INSERT INTO t VALUES (1)"), of(Columns::All(13)));
    assert_eq!(told("INSERT INTO t AS x SELECT 1"), of(Columns::All(18)));
    let with = "WITH a(into_) AS (SELECT 1 /* INTO x */) INSERT INTO t SELECT * FROM a";
    assert_eq!(told(with), of(Columns::All(with.find(" SELECT *").unwrap())));
    for other in [
        "UPDATE t SET a = 1",
        "SELECT 1",
        "",
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO u VALUES (1); END",
    ] {
        assert_eq!(told(other), None, "{other}");
    }
}
