//! What every protocol's session gets, and what it shows of itself to the
//! daemon. Knows no protocol.

pub mod audit;
pub mod context;
pub mod counts;
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "no protocol that is served has data connections")
)]
pub mod dialer;
pub mod effect;
pub mod failure;
pub mod jail;
pub mod keeper;
pub mod keys;
pub mod login;
pub mod protocol;
pub mod shortage;
pub mod slots;
pub mod uploads;
