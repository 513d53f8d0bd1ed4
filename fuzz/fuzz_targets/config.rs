//! The configuration file: a configuration within its bounds, or problems,
//! each on one line.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tfd::config::Config;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Config::parse(Path::new("/etc/tfd/tfd.toml"), text) {
        Ok(Config { server, tf, .. }) => {
            assert!(server.max_sessions > 0 && !tf.listen.is_empty());
            assert!((1..=31).contains(&tf.version.len()) && (1..=255).contains(&tf.hash.len()));
            assert!(!tf.handshake_limit.is_zero());
            assert!((1..=1 << 30).contains(&tf.session.buffer_limit));
            assert!(tf.session.file_mode <= 0o7777 && tf.session.directory_mode <= 0o7777);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let line = problem.to_string();
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
});
