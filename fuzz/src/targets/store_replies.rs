//! Replies of the store that several servers share.

use tfd::fleet::reply;

/// The longest block, in seconds.
const LONGEST: u64 = 3600;

/// Takes one input.
pub fn run(data: &[u8]) {
    let Ok(reply) = reply::read(data) else { return };
    let Ok(reply) = reply::accepted(reply) else {
        return;
    };
    if let Some(state) = reply::login(&reply, LONGEST) {
        assert!(state.login.left <= LONGEST && state.source.left <= LONGEST);
    }
    for (order, ..) in reply::orders(&reply).unwrap_or_default() {
        assert!(
            order.as_bytes()[..reply::ORDER]
                .iter()
                .all(u8::is_ascii_hexdigit)
        );
    }
    let _ = (reply::yes_or_no(&reply), reply::usage(&reply));
}
