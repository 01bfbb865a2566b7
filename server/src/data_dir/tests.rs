use std::collections::BTreeMap;

use super::*;

fn error(path: &Path) -> String {
    let opened = DataDirectory::open(path).and_then(|directory| directory.key());
    format!("{:#}", opened.unwrap_err())
}

fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("new/data");
    let first = DataDirectory::open(&path).unwrap().key().unwrap();
    assert_eq!(DataDirectory::open(&path).unwrap().key().unwrap().0, first.0);
    assert_eq!(key_of(&path).unwrap().0, first.0);
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key"), mode(".")), (0o600, 0o700));
    let other = temporary.path().join("other");
    assert_ne!(DataDirectory::open(&other).unwrap().key().unwrap().0, first.0);
    assert!(format!("{:#}", key_of(temporary.path()).unwrap_err()).contains("started once"));
}

#[test]
fn one_process_uses_a_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let first = DataDirectory::open(temporary.path()).unwrap();
    assert!(error(temporary.path()).contains("another process uses the data"));
    drop(first);
    DataDirectory::open(temporary.path()).unwrap();
}

#[test]
fn a_first_start_that_ended_between_any_two_steps_is_repeated() {
    let temporary = tempfile::tempdir().unwrap();
    for (number, left) in [
        &[][..],
        &["lock"],
        &["lock", "version.unfinished"],
        &["lock", "version"],
        &["lock", "version", "key.unfinished"],
        &["lock", "version", "key"],
        &["lock", "version", "key", "founded.unfinished"],
    ]
    .iter()
    .enumerate()
    {
        let path = temporary.path().join(number.to_string());
        let key = {
            let directory = DataDirectory::open(&path).unwrap();
            directory.key().unwrap().0
        };
        let whole = files(&path);
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        for name in *left {
            let bytes = whole.get(*name).map_or(&b"7"[..], |bytes| bytes);
            fs::write(path.join(name), bytes).unwrap();
            fs::set_permissions(path.join(name), Permissions::from_mode(0o600)).unwrap();
        }
        let again = DataDirectory::open(&path).unwrap().key().unwrap().0;
        assert_eq!(again == key, left.contains(&"key"), "{left:?}");
    }
}

#[test]
fn a_damaged_key_is_refused_and_stays() {
    let temporary = tempfile::tempdir().unwrap();
    let key = temporary.path().join("key");
    DataDirectory::open(temporary.path()).unwrap().key().unwrap();
    let whole = fs::read_to_string(&key).unwrap();
    for damaged in
        ["", "\n", &whole[1..], &whole[..63], &whole.replace(&whole[..1], "g"), &"0".repeat(64)]
    {
        fs::write(&key, damaged).unwrap();
        assert!(error(temporary.path()).contains("is damaged"), "{damaged:?}");
        assert_eq!(fs::read_to_string(&key).unwrap(), damaged);
    }
    fs::write(&key, &whole).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert!(error(temporary.path()).contains("chmod 600"));
}

#[test]
fn what_a_founded_directory_lacks_is_not_made_anew() {
    let temporary = tempfile::tempdir().unwrap();
    let (path, aside) = (&temporary.path().join("data"), temporary.path().join("aside"));
    let directory = DataDirectory::open(path).unwrap();
    directory.key().unwrap();
    for name in ["log", "rows"] {
        fs::create_dir(path.join(name)).unwrap();
        fs::write(path.join(name).join("CURRENT"), "").unwrap();
    }
    directory.found().unwrap();
    drop(directory);
    DataDirectory::open(path).unwrap().key().unwrap();
    for name in ["key", "log", "rows/CURRENT", "version"] {
        fs::rename(path.join(name), &aside).unwrap();
        let told = error(path);
        assert!(told.contains("restore"), "{name}: {told}");
        assert!(!path.join(name).exists());
        fs::rename(&aside, path.join(name)).unwrap();
    }
}

#[test]
fn data_of_a_later_version_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    drop(DataDirectory::open(temporary.path()).unwrap());
    for (version, told) in [("2\n", "start a later server"), ("", "damaged"), ("x", "damaged")] {
        fs::write(temporary.path().join("version"), version).unwrap();
        assert!(error(temporary.path()).contains(told), "{version:?}");
    }
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("letter.txt"), "").unwrap();
    assert!(error(temporary.path()).contains("letter.txt"));
    assert!(!temporary.path().join("version").exists());
}
