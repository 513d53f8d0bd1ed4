//! Links that an ordinary user has planted where root reads and writes: none
//! is followed. Links of root are.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::{Setup, account};
use crate::{Scene, give_to, give_to_nobody, tfd, without_root};

/// A server whose accounts are in a file of their own directory.
fn scene() -> Scene {
    let server = "mode = \"multi-user\"\nusers = \"users\"".to_owned();
    let users = account("ann", "a", "games:::");
    Scene::with(Setup {
        server,
        users,
        ..Setup::default()
    })
}

fn beside(scene: &Scene, name: &str) -> PathBuf {
    scene.server.config_path().with_file_name(name)
}

/// Moves a file and puts a link to it in its place.
fn plant(path: &Path) {
    let moved = path.with_extension("moved");
    fs::rename(path, &moved).expect("rename");
    symlink(&moved, path).expect("link");
}

fn check(path: &Path) -> (Option<i32>, String) {
    tfd(&["check", "--config", path.to_str().expect("path")])
}

/// What tfd says when it is started on a configuration that it must refuse.
fn start(config: &Path) -> String {
    let mut command = std::process::Command::new("timeout");
    command
        .args(["10", env!("CARGO_BIN_EXE_tfd"), "serve", "--config"])
        .arg(config);
    let output = command.output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn configuration_users_and_key_are_not_read_through_a_link_of_an_ordinary_user() {
    if without_root() {
        return;
    }
    let scene = scene();
    let config = scene.server.config_path();
    for name in ["tfd.toml", "users", "private.pem"] {
        let path = beside(&scene, name);
        plant(&path);
        assert_eq!(check(&config).0, Some(0), "{name} through a link of root");
        give_to_nobody(&path);
        let (code, said) = check(&config);
        assert!(
            code == Some(1) && said.contains("is a link that belongs to"),
            "{name}: {said}"
        );
        fs::remove_file(&path).expect("remove");
        fs::rename(path.with_extension("moved"), &path).expect("rename");
        assert_eq!(check(&config).0, Some(0));
    }
}

#[test]
fn a_directory_on_the_way_that_is_an_ordinary_users_link_is_not_passed() {
    if without_root() {
        return;
    }
    let scene = scene();
    let way = beside(&scene, "way");
    symlink(scene.server.config_path().parent().expect("parent"), &way).expect("link");
    assert_eq!(check(&way.join("tfd.toml")).0, Some(0));
    give_to_nobody(&way);
    let (code, said) = check(&way.join("tfd.toml"));
    assert!(
        code == Some(1) && said.contains("is a link that belongs to"),
        "{said}"
    );
}

#[test]
fn who_is_blocked_is_not_written_through_a_link_of_an_ordinary_user() {
    if without_root() {
        return;
    }
    let scene = scene();
    let blocked = beside(&scene, "users.blocked");
    let victim = beside(&scene, "victim");
    let _ = fs::remove_file(&blocked);
    for content in [None, Some("roots")] {
        if let Some(content) = content {
            fs::write(&victim, content).expect("write");
        }
        symlink(&victim, &blocked).expect("link");
        give_to_nobody(&blocked);
        let said = start(&scene.server.config_path());
        assert!(
            said.contains("users.blocked is a link that belongs to"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&victim).ok().as_deref(), content);
        fs::remove_file(&blocked).expect("remove");
    }
}

#[test]
fn accounts_are_not_changed_through_a_link_of_an_ordinary_user() {
    if without_root() {
        return;
    }
    let scene = scene();
    let config = scene.server.config_path();
    let lock_user = || {
        tfd(&[
            "user",
            "lock",
            "ann",
            "--config",
            config.to_str().expect("path"),
        ])
    };
    let victim = beside(&scene, "victim");
    let before = fs::read(beside(&scene, "users")).expect("users");
    let lock = beside(&scene, "users.lock");
    symlink(&victim, &lock).expect("link");
    give_to_nobody(&lock);
    let (code, said) = lock_user();
    assert!(
        code == Some(1) && said.contains("is a link that belongs to"),
        "{said}"
    );
    assert!(!victim.exists());
    fs::remove_file(&lock).expect("remove");

    let users = beside(&scene, "users");
    plant(&users);
    give_to_nobody(&users);
    let (code, said) = lock_user();
    assert!(
        code == Some(1) && said.contains("is a link that belongs to"),
        "{said}"
    );
    assert_eq!(
        fs::read(users.with_extension("moved")).expect("users"),
        before
    );
}

#[test]
fn a_certificate_that_an_ordinary_user_may_change_is_refused() {
    if without_root() {
        return;
    }
    let keys = "tls_client_ca = \"ca.pem\"\nmode = \"multi-user\"\nusers = \"users\"";
    let users = account("ann", "a", "games:::");
    let scene = Scene::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let path = scene.server.config_path();
    let text = fs::read_to_string(&path).expect("read");
    let directory = path.parent().expect("directory");
    fs::copy(directory.join("tls.pem"), directory.join("ca.pem")).expect("copy");
    scene.server.set_users(&users);
    let other = path.with_file_name("other.toml");
    let text = text.replacen("[tf]", &format!("{keys}\n[tf]"), 1);
    fs::write(&other, text).expect("write");
    let fine = |said: &str| !said.contains("ca.pem") && !said.contains("tls.pem");
    assert!(fine(&check(&other).1), "{}", check(&other).1);
    for name in ["ca.pem", "tls.pem"] {
        let file = directory.join(name);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).expect("mode");
        let (code, said) = check(&other);
        assert!(
            code == Some(1) && said.contains("others than root may change"),
            "{said}"
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mode");
        give_to("games", &file);
        let (code, said) = check(&other);
        assert!(code == Some(1) && said.contains(name), "{said}");
        give_to("root", &file);
        assert!(fine(&check(&other).1), "{}", check(&other).1);
    }
}

#[test]
fn a_key_of_an_ordinary_user_is_refused() {
    if without_root() {
        return;
    }
    let scene = scene();
    let key = beside(&scene, "private.pem");
    give_to_nobody(&key);
    let (code, said) = check(&scene.server.config_path());
    assert!(
        code == Some(1) && said.contains("belongs to somebody else: chown root"),
        "{said}"
    );
    assert_eq!(
        fs::metadata(&key).expect("stat").permissions().mode() & 0o777,
        0o600
    );
}
