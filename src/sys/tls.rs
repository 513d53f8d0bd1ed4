//! Kernel TLS for sending on a TCP connection: the kernel makes records of what
//! is written to the socket.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{TcpTlsTx, TcpUlp, TlsCryptoInfo};
use nix::sys::socket::{SetSockOpt, setsockopt};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use zeroize::Zeroize;

const NAME: &[u8] = b"tls";

/// Whether the kernel has it. If root asks, the kernel loads it first.
pub fn is_there() -> bool {
    let flags = SocketFlags::CLOEXEC;
    let Ok(socket) = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None) else {
        return false;
    };
    // A kernel that knows it complains about the missing connection.
    TcpUlp::default().set(&socket, &NAME) == Err(Errno::ENOTCONN)
}

/// Lets the kernel make the records of TLS 1.3 of what is sent from now on,
/// with AES-GCM under this key of 16 or 32 bytes; `next` is the number of the
/// first one.
///
/// # Errors
/// The system's, `EINVAL` for a key of another length. The socket then sends
/// bytes as before.
pub fn seal_from_now(
    socket: BorrowedFd<'_>,
    key: &[u8],
    iv: &[u8; 12],
    next: u64,
) -> io::Result<()> {
    let mut info = crypto_info(key, iv, next).ok_or(Errno::EINVAL)?;
    let begun = setsockopt(&socket, TcpUlp::default(), &NAME)
        .and_then(|()| setsockopt(&socket, TcpTlsTx, &info));
    match &mut info {
        TlsCryptoInfo::Aes128Gcm(info) => info.key.zeroize(),
        TlsCryptoInfo::Aes256Gcm(info) => info.key.zeroize(),
        TlsCryptoInfo::Chacha20Poly1305(info) => info.key.zeroize(),
    }
    Ok(begun?)
}

fn crypto_info(key: &[u8], iv: &[u8; 12], next: u64) -> Option<TlsCryptoInfo> {
    let version = libc::TLS_1_3_VERSION;
    let (salt, iv) = iv.split_first_chunk::<4>()?;
    let (salt, iv, rec_seq) = (*salt, iv.try_into().ok()?, next.to_be_bytes());
    Some(match key.len() {
        16 => TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
            info: libc::tls_crypto_info {
                version,
                cipher_type: libc::TLS_CIPHER_AES_GCM_128,
            },
            iv,
            key: key.try_into().ok()?,
            salt,
            rec_seq,
        }),
        32 => TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
            info: libc::tls_crypto_info {
                version,
                cipher_type: libc::TLS_CIPHER_AES_GCM_256,
            },
            iv,
            key: key.try_into().ok()?,
            salt,
            rec_seq,
        }),
        _ => return None,
    })
}

/// Sends a record of this type by the kernel, if the system accepts it at once:
/// bytes accepted.
pub fn send_record(socket: BorrowedFd<'_>, kind: u8, content: &[u8]) -> io::Result<usize> {
    // One control message of one byte, aligned as its header is.
    let mut control = [libc::cmsghdr {
        cmsg_len: 0,
        cmsg_level: 0,
        cmsg_type: 0,
    }; 2];
    let mut part = libc::iovec {
        iov_base: content.as_ptr().cast_mut().cast(),
        iov_len: content.len(),
    };
    // SAFETY: `msghdr` is made of integers and pointers, for which zero is a
    // value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `CMSG_SPACE` only computes. Its result is within `control`,
    // which the assertion holds it to.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(1) } as _;
    assert!(message.msg_controllen as usize <= size_of_val(&control));
    // SAFETY: the first header and the byte behind it are within `control`,
    // and nothing else has a reference to that; `sendmsg` reads what `message`
    // points to, which lives until it returns.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_TLS;
        (*header).cmsg_type = libc::TLS_SET_RECORD_TYPE;
        (*header).cmsg_len = libc::CMSG_LEN(1) as _;
        libc::CMSG_DATA(header).write(kind);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, flags)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_nonce_stand_where_the_kernel_looks_for_them() {
        let iv = std::array::from_fn(|at| at as u8);
        let Some(TlsCryptoInfo::Aes128Gcm(info)) = crypto_info(&[7; 16], &iv, 258) else {
            panic!("another cipher");
        };
        assert_eq!(
            (info.salt, info.iv),
            ([0, 1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11])
        );
        assert_eq!(
            (info.key, info.rec_seq),
            ([7; 16], [0, 0, 0, 0, 0, 0, 1, 2])
        );
        let longer = crypto_info(&[7; 32], &iv, 0);
        assert!(matches!(longer, Some(TlsCryptoInfo::Aes256Gcm(info)) if info.key == [7; 32]));
        assert!(crypto_info(&[7; 20], &iv, 0).is_none());
    }
}
