//! TFD_FEATURES: the version of the extension, and which of its words this
//! session may use.

use crate::tf::env::Env;
use crate::tf::status::Reply;
use crate::users::Rights;

/// The version of the extension.
const VERSION: &str = "1";

/// `OK 1` and words.
pub(crate) fn run(env: &Env) -> Reply {
    let words: &[&str] = match env.rights {
        Rights::Full => &["LIST", "STORE", "FETCH", "SET", "LINK", "XATTR", "OWNER"],
        Rights::AppendOnly => &["LIST", "STORE", "FETCH", "LINK", "XATTR", "APPENDONLY"],
        Rights::ReadOnly => &["LIST", "FETCH", "XATTR", "READONLY"],
    };
    let text = [&[VERSION], words].concat().join(" ");
    Reply::OkWith(text.into_bytes())
}
