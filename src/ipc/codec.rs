//! Messages between processes as bytes, and descriptors as fields of them. A
//! type becomes a message by `codec!(struct Ended { slot, orderly })` or
//! `codec!(enum Order { 1 => Retire, 2 => End { slot } })`, whose fields are of
//! types that have [`Encode`] and [`Decode`] themselves. The sender is never
//! trusted: decoding checks every field, takes no more memory than the message
//! has bytes, and fails with `None` for anything else, also for bytes or
//! descriptors left over. A type with limits of its own names the function that
//! checks them: `codec!(struct Proof { .. } if Proof::is_valid)`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use zeroize::Zeroizing;

/// A message under construction.
#[derive(Default)]
pub struct Writer<'a> {
    /// Wiped after use.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The descriptors that go with it.
    pub handles: Vec<BorrowedFd<'a>>,
}

impl Writer<'_> {
    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a length. No message has 4 GiB.
    fn put_len(&mut self, len: usize) {
        self.put(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn put_text(&mut self, text: &[u8]) {
        self.put_len(text.len());
        self.put(text);
    }
}

/// A message being read.
pub struct Reader<'a> {
    bytes: &'a [u8],
    handles: std::vec::IntoIter<OwnedFd>,
}

impl<'a> Reader<'a> {
    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    /// The next length, as far as it may be true.
    fn take_len(&mut self) -> Option<usize> {
        let len = usize::try_from(u32::decode(self)?).ok()?;
        (len <= self.bytes.len() + self.handles.len()).then_some(len)
    }

    fn take_text(&mut self) -> Option<&'a [u8]> {
        let len = self.take_len()?;
        self.take(len)
    }
}

/// What can be sent.
pub trait Encode {
    /// Appends this to a message.
    fn encode<'a>(&'a self, out: &mut Writer<'a>);

    /// The message, without descriptors.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::default();
        self.encode(&mut out);
        out.bytes
    }
}

/// What can be received.
pub trait Decode: Sized {
    /// Takes this from the front of a message.
    fn decode(from: &mut Reader<'_>) -> Option<Self>;

    /// Reads a whole message without descriptors.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_message(bytes, Vec::new())
    }

    /// Reads a whole message.
    fn from_message(bytes: &[u8], handles: Vec<OwnedFd>) -> Option<Self> {
        let handles = handles.into_iter();
        let mut from = Reader { bytes, handles };
        let message = Self::decode(&mut from)?;
        (from.bytes.is_empty() && from.handles.len() == 0).then_some(message)
    }
}

/// Makes a type a message: its fields one after another, an enum's behind the
/// number of its variant.
#[macro_export]
macro_rules! codec {
    (struct $name:ident $(<$t:ident>)? { $($field:ident),* $(,)? } $(if $valid:path)?) => {
        impl $(<$t: $crate::ipc::codec::Encode>)? $crate::ipc::codec::Encode for $name $(<$t>)? {
            fn encode<'a>(&'a self, out: &mut $crate::ipc::codec::Writer<'a>) {
                $($crate::ipc::codec::Encode::encode(&self.$field, out);)*
            }
        }
        impl $(<$t: $crate::ipc::codec::Decode>)? $crate::ipc::codec::Decode for $name $(<$t>)? {
            fn decode(from: &mut $crate::ipc::codec::Reader<'_>) -> Option<Self> {
                let message = $name { $($field: $crate::ipc::codec::Decode::decode(from)?),* };
                Some(message)$(.filter($valid))?
            }
        }
    };
    (enum $name:ident $(<$t:ident>)? { $($code:literal => $variant:ident
        $(($($item:ident),*))? $({$($field:ident),*})?),* $(,)? } $(if $valid:path)?) => {
        impl $(<$t: $crate::ipc::codec::Encode>)? $crate::ipc::codec::Encode for $name $(<$t>)? {
            fn encode<'a>(&'a self, out: &mut $crate::ipc::codec::Writer<'a>) {
                match self {$(
                    $name::$variant $(($($item),*))? $({$($field),*})? => {
                        out.bytes.push($code);
                        $($($crate::ipc::codec::Encode::encode($item, out);)*)?
                        $($($crate::ipc::codec::Encode::encode($field, out);)*)?
                    }
                )*}
            }
        }
        impl $(<$t: $crate::ipc::codec::Decode>)? $crate::ipc::codec::Decode for $name $(<$t>)? {
            fn decode(from: &mut $crate::ipc::codec::Reader<'_>) -> Option<Self> {
                let message = match <u8 as $crate::ipc::codec::Decode>::decode(from)? {
                    $($code => {
                        $($(let $item = $crate::ipc::codec::Decode::decode(from)?;)*)?
                        $($(let $field = $crate::ipc::codec::Decode::decode(from)?;)*)?
                        Some($name::$variant $(($($item),*))? $({$($field),*})?)
                    })*
                    _ => None,
                };
                message$(.filter($valid))?
            }
        }
    };
}
pub use codec;

/// A type, how it is appended, and how it is taken.
macro_rules! coded {
    ($type:ty, |$this:ident, $out:ident| $put:expr, |$from:ident| $take:expr) => {
        impl Encode for $type {
            fn encode<'a>(&'a self, $out: &mut Writer<'a>) {
                let $this = self;
                $put;
            }
        }
        impl Decode for $type {
            fn decode($from: &mut Reader<'_>) -> Option<$type> {
                $take
            }
        }
    };
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(coded!($type, |this, out| out.put(&this.to_be_bytes()), |from| {
            Some(<$type>::from_be_bytes(Decode::decode(from)?))
        });)*
    };
}

integers!(u8, u16, u32, u64, usize, i32, i64);

coded!(bool, |this, out| out.put(&[u8::from(*this)]), |from| {
    match u8::decode(from)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
});

coded!(String, |this, out| out.put_text(this.as_bytes()), |from| {
    str::from_utf8(from.take_text()?).ok().map(str::to_owned)
});

coded!(Zeroizing<Vec<u8>>, |this, out| out.put_text(this), |from| {
    Some(Zeroizing::new(from.take_text()?.to_vec()))
});

/// An address in the form of messages: IPv4 as IPv4-mapped.
pub fn address_to_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address in such bytes.
pub fn address_from_bytes(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

coded!(
    IpAddr,
    |this, out| out.put(&address_to_bytes(*this)),
    |from| Decode::decode(from).map(address_from_bytes)
);

coded!(
    SocketAddr,
    |this, out| {
        out.put(&this.ip().to_bytes());
        out.put(&this.port().to_be_bytes());
        let scope = match this {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(address) => address.scope_id(),
        };
        out.put(&scope.to_be_bytes());
    },
    |from| {
        let mut address = SocketAddr::new(Decode::decode(from)?, Decode::decode(from)?);
        let scope = Decode::decode(from)?;
        if let SocketAddr::V6(address) = &mut address {
            address.set_scope_id(scope);
        }
        Some(address)
    }
);

coded!(
    OwnedFd,
    |this, out| out.handles.push(this.as_fd()),
    |from| from.handles.next()
);

impl<const N: usize> Encode for [u8; N] {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(from: &mut Reader<'_>) -> Option<[u8; N]> {
        from.take(N)?.try_into().ok()
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(from: &mut Reader<'_>) -> Option<(A, B)> {
        Some((A::decode(from)?, B::decode(from)?))
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put(&[u8::from(self.is_some())]);
        self.iter().for_each(|some| some.encode(out));
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(from: &mut Reader<'_>) -> Option<Option<T>> {
        match bool::decode(from)? {
            true => T::decode(from).map(Some),
            false => Some(None),
        }
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put(&[u8::from(self.is_err())]);
        match self {
            Ok(value) => value.encode(out),
            Err(e) => e.encode(out),
        }
    }
}

impl<T: Decode, E: Decode> Decode for Result<T, E> {
    fn decode(from: &mut Reader<'_>) -> Option<Result<T, E>> {
        match bool::decode(from)? {
            true => E::decode(from).map(Err),
            false => T::decode(from).map(Ok),
        }
    }
}

impl Encode for () {
    fn encode<'a>(&'a self, _out: &mut Writer<'a>) {}
}

impl Decode for () {
    fn decode(_from: &mut Reader<'_>) -> Option<()> {
        Some(())
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.put_len(self.len());
        self.iter().for_each(|item| item.encode(out));
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(from: &mut Reader<'_>) -> Option<Vec<T>> {
        let len = from.take_len()?;
        (0..len).map(|_| T::decode(from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    struct Inner {
        name: String,
        numbers: Vec<u16>,
        peer: SocketAddr,
    }

    #[derive(Debug, PartialEq)]
    enum Message<T> {
        Nothing,
        One(T),
        Two { yes: Option<bool>, key: [u8; 4] },
    }

    codec!(struct Inner { name, numbers, peer });
    codec!(enum Message<T> { 1 => Nothing, 2 => One(one), 7 => Two { yes, key } });

    #[test]
    fn a_message_arrives_as_sent_and_nothing_else_is_one() {
        let inner = || Inner {
            name: "ü".to_owned(),
            numbers: vec![1, 65535],
            peer: "[2001:db8::1]:9".parse().expect("address"),
        };
        for message in [
            Message::Nothing,
            Message::One(inner()),
            Message::Two {
                yes: Some(true),
                key: [9; 4],
            },
        ] {
            let bytes = message.to_bytes();
            assert_eq!(Message::from_bytes(&bytes), Some(message));
            for short in 0..bytes.len() {
                assert_eq!(Message::<Inner>::from_bytes(&bytes[..short]), None);
            }
            let long = [&bytes[..], &[0]].concat();
            assert_eq!(Message::<Inner>::from_bytes(&long), None);
        }
        let v4: IpAddr = "192.0.2.1".parse().expect("address");
        assert_eq!(IpAddr::from_bytes(&v4.to_bytes()), Some(v4));
        assert_eq!(Vec::<u64>::from_bytes(&[255; 12]), None);
    }

    #[test]
    fn descriptors_are_fields_and_none_may_be_missing_or_left_over() {
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").expect("file"));
        type Pair = Message<Vec<OwnedFd>>;
        let message = Message::One(vec![file()]);
        let mut out = Writer::default();
        message.encode(&mut out);
        assert_eq!(out.handles.len(), 1);
        for (given, fits) in [(0, false), (1, true), (2, false)] {
            let given = (0..given).map(|_| file()).collect();
            assert_eq!(Pair::from_message(&out.bytes, given).is_some(), fits);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(message) = Message::<Inner>::from_bytes(&bytes) {
                prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Some(message));
            }
        }
    }
}
