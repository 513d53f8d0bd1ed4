//! A service of PAM for a test alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A number that nobody else has.
pub fn number() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}x{count}", std::process::id())
}

/// Modules that take any password.
pub const ANY: &str = "auth required pam_permit.so\naccount required pam_permit.so\n";

/// A service; its file goes with it.
pub struct Service {
    pub name: String,
}

impl Service {
    pub fn new(lines: &str) -> Service {
        let service = Service {
            name: format!("tfd-test-{}", number()),
        };
        fs::write(service.path(), lines).expect("write service");
        service
    }

    fn path(&self) -> PathBuf {
        Path::new("/etc/pam.d").join(&self.name)
    }

    /// The lines that have it check passwords.
    pub fn lines(&self) -> String {
        format!("auth = \"pam\"\npam_service = \"{}\"\n", self.name)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}
