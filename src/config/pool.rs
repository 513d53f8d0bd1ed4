//! The pool file of the load balancer, as the configuration names it. Wrong
//! lines and a missing file keep nothing from being served: whoever writes it
//! may do so later.

use std::io::Read;
use std::path::Path;

use super::{Config, Problem};
use crate::tf::pool::file as pool;
use crate::tf::pool::file::{MAX_FILE, Pool};
use crate::trusted;

/// Reads a pool file, as root through no link of an ordinary user.
///
/// # Errors
/// Why it can't be read, with its path.
pub fn read_pool(path: &Path) -> Result<Pool, String> {
    let told = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = trusted::open_to_read(path).map_err(told)?;
    if !file.metadata().map_err(told)?.is_file() {
        return Err(format!("{}: not a file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{}: larger than {MAX_FILE} bytes", path.display()));
    }
    Ok(pool::parse(&bytes))
}

/// What would be missing in the pool.
#[must_use]
pub fn check_pool(config: &Config) -> Vec<Problem> {
    let Some(path) = &config.tf.tlb_pool else {
        return Vec::new();
    };
    match read_pool(path) {
        Ok(pool) => {
            let problem = |(line, text)| Problem::on_line(path, line, text);
            pool.problems.into_iter().map(problem).collect()
        }
        Err(text) => vec![Problem::new(&config.path, format!("tf.tlb_pool: {text}"))],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pool_file_is_read_within_bounds_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("pool");
        assert!(read_pool(&path).expect_err("missing").contains("pool: "));
        fs::write(&path, "4 1.1.1.1;1\nx\n").expect("write");
        let pool = read_pool(&path).expect("read");
        assert_eq!((pool.servers.len(), pool.problems[0].0), (1, 2));
        fs::write(&path, vec![b'\n'; (1 << 20) + 1]).expect("write");
        assert!(read_pool(&path).expect_err("large").contains("larger"));
        assert!(
            read_pool(dir.path())
                .expect_err("directory")
                .contains("not a file")
        );
    }
}
