//! The dictionary of typed values in which a KDBX file keeps the parameters of its
//! key derivation.

/// A value with the byte of its type.
pub type Value = (u8, Vec<u8>);

const VERSION: u16 = 0x0100;

/// The bytes of a dictionary.
pub fn to_bytes(values: &[(String, Value)]) -> Vec<u8> {
    let mut out = VERSION.to_le_bytes().to_vec();
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    for (name, (kind, value)) in values {
        out.push(*kind);
        out.extend_from_slice(&len(name.as_bytes()));
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&len(value));
        out.extend_from_slice(value);
    }
    out.push(0);
    out
}

/// Reads a dictionary.
pub fn read(bytes: &[u8]) -> Option<Vec<(String, Value)>> {
    let (version, mut rest) = bytes.split_first_chunk::<2>()?;
    if u16::from_le_bytes(*version) >> 8 != VERSION >> 8 {
        return None;
    }
    let mut values = Vec::new();
    loop {
        let (&kind, behind) = rest.split_first()?;
        if kind == 0 {
            return behind.is_empty().then_some(values);
        }
        rest = behind;
        let name = str::from_utf8(take(&mut rest)?).ok()?.to_owned();
        values.push((name, (kind, take(&mut rest)?.to_vec())));
    }
}

/// A length and so many bytes.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (value, behind) = behind.split_at_checked(len)?;
    *rest = behind;
    Some(value)
}
