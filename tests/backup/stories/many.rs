//! Many files.

use super::*;

#[test]
fn many_files_are_saved_recognized_and_restored() {
    let count = match std::env::var_os("TFD_TEST_FULL") {
        Some(_) => 200_000,
        None => 2_000,
    };
    let Some(party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    let source = party.anna.path("source");
    let path = |number: u64| source.join(format!("many/{}/{number}", number / 500));
    for number in 0..count {
        let path = path(number);
        fs::create_dir_all(path.parent().expect("directory")).expect("directory");
        fs::write(path, noise(number, 200)).expect("file");
    }
    let save = || party.anna.json(&["backup", "source"]);
    let first = save();
    assert!(first["new"].as_u64() > Some(count), "{first}");
    let again = save();
    assert_eq!((&again["new"], &again["changed"]), (&0.into(), &0.into()));
    for number in (0..count).step_by(100) {
        fs::write(path(number), noise(number, 300)).expect("file");
    }
    let changed = save();
    assert_eq!(changed["changed"], count / 100, "{changed}");
    party.expect_restored();
}
