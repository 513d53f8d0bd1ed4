//! Addresses that the network at large does not lead to. A hub must not have a holder
//! knock at doors behind its own.

use std::net::IpAddr;

/// The first bytes of addresses that providers share among customers: 100.64.0.0/10.
const SHARED: (u8, u8) = (100, 64);

/// Whether an address is one of this machine, of a neighbour, or of nobody.
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || first == 0
                || (first, second & 0xc0) == SHARED
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_to_neighbours_alone_are_told_from_others() {
        let is_near = |text: &str| is_near(text.parse().expect(text));
        for near in [
            "127.0.0.1",
            "127.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "198.51.100.7",
            "9.255.255.255",
            "11.0.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "2001:db8::1",
            "::ffff:198.51.100.7",
        ] {
            assert!(!is_near(far), "{far}");
        }
    }
}
