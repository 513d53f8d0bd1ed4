//! The client library in twenty lines: connects, sends a file, lists the
//! server's root, and receives the file again.
//!
//! Run it against any TF server with its address, public key and hash;
//! `scripts/demo` starts one and prints this command for it:
//!
//! ```text
//! cargo run --example transfer -- 127.0.0.1:10345 public.pem HASH README.md
//! ```

use std::error::Error;
use std::fs::File;
use std::path::Path;

use tfd::client::{Connection, PublicKey, Target};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, key, hash, path] = arguments.as_slice() else {
        return Err("usage: transfer HOST:PORT PUBLIC_KEY HASH FILE".into());
    };
    let (key, path) = (PublicKey::from_file(key.as_ref())?, Path::new(path));
    let mut connection = Connection::open(&Target::new(server, key, hash))?;
    // An old file of that name is replaced when the SHA-256 matches.
    connection.upload(path, &mut File::open(path)?, "example", &mut |_| {})?;
    for entry in connection.list("/")? {
        println!("{:?} {}", entry.kind, entry.path.escape_ascii());
    }
    let mut received = 0;
    connection.download("example", Path::new("example.back"), &mut |n| received = n)?;
    println!("received {received} bytes into example.back");
    Ok(connection.end()?)
}
