//! TFD_FEATURES: the version of the extension, and which of its words this
//! session may use.

use crate::tf::env::Env;
use crate::tf::status::Reply;
use crate::users::Rights;

/// The version of the extension.
const VERSION: &str = "1";

/// The word of a client that wants digests while bytes pass.
const DIGEST: &[u8] = b"digest";

/// `OK 1` and words.
pub(crate) fn run(env: &Env, asked: &[u8]) -> Reply {
    if asked.split(|c| *c == b' ').any(|word| word == DIGEST) {
        env.digests.turn_on();
    }
    let digest: &[&str] = if env.digests.is_on() {
        &["DIGEST"]
    } else {
        &[]
    };
    let words: &[&str] = match env.rights {
        Rights::Full => &["LIST", "STORE", "FETCH", "SET", "LINK", "XATTR", "OWNER"],
        Rights::AppendOnly => &["LIST", "STORE", "FETCH", "LINK", "XATTR", "APPENDONLY"],
        Rights::ReadOnly => &["LIST", "FETCH", "XATTR", "READONLY"],
    };
    let text = [&[VERSION], words, digest].concat().join(" ");
    Reply::OkWith(text.into_bytes())
}
