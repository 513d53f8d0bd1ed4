//! Configurations of the public C server: what is made of one is TOML, and at
//! most its values are refused.

use std::path::Path;
use std::sync::LazyLock;

use openssl::rsa::Rsa;
use tfd::admin::import::convert;
use tfd::config::Config;

static KEY_BLOCK: LazyLock<String> = LazyLock::new(|| {
    let key = Rsa::generate(1024)
        .and_then(|key| key.private_key_to_pem())
        .expect("key");
    format!(
        "\nprivkey {{\n{}}}\n",
        String::from_utf8(key).expect("text")
    )
});

/// Takes one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(converted) = convert(&[text, &KEY_BLOCK].concat()) else {
        return;
    };
    let problems = match Config::parse(Path::new("/etc/tfd/tfd.toml"), &converted.toml) {
        Ok(_) => return,
        Err(problems) => problems,
    };
    for problem in problems {
        let problem = problem.to_string();
        let about_a_value = problem.contains(": tf.") || problem.contains(": server.");
        assert!(about_a_value, "{problem} in {}", converted.toml);
    }
}
