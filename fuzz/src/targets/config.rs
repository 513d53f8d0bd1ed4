//! The configuration file: a configuration within its bounds, or problems,
//! each on one line.

use std::path::Path;

use tfd::config::Config;

/// Takes one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Config::parse(Path::new("/etc/tfd/tfd.toml"), text) {
        Ok(config) => {
            let Config { server, tf, .. } = &config;
            assert!(server.max_sessions > 0 && !config.listeners().is_empty());
            assert!(!server.handshake_limit.is_zero());
            if let Some(tf) = tf {
                let lengths =
                    (1..=31).contains(&tf.version.len()) && (1..=255).contains(&tf.hash.len());
                assert!(lengths || tf.proxy.is_some());
                assert!((1..=1 << 30).contains(&tf.buffer_limit));
            }
            assert!(server.file_mode <= 0o7777 && server.directory_mode <= 0o7777);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                let line = problem.to_string();
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
