//! Bytes as people compare them.

/// Two lower-case digits for each byte.
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
