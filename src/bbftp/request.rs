//! From messages to typed requests, in the version that was chosen. All errors of
//! form end here; nothing here touches a file.

use super::session::{Env, POLICY, Reply, Version};
use super::wire::extension::{self, Missing, RetrFrom, SmallStore, StoreFrom};
use super::wire::{
    Code, Control, Header, OldTransfer, Options, Result, Transfer, WireError, decode_number,
    decode_path, decode_with_options,
};
use crate::session::audit::Subject;
use crate::session::effect::Effect;
use crate::session::effect::Effect::{Adds, Changes, Reads};
use crate::store::RootPath;
use crate::store::path::Forbidden;

/// The longest payload of a request without a small file in it: the longest path,
/// and what stands before it.
const MAX_REQUEST: usize = 8 * 1024;

/// A path as the client wrote it, and what it leads to from the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As it was sent.
    pub text: Vec<u8>,
    /// Beneath the root.
    pub path: RootPath,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of the messages")]
pub enum Request {
    /// STORE and STORE_C
    OldStore {
        file: Named,
        transfer: OldTransfer,
        gzip: bool,
    },
    /// RETR and RETR_C
    OldRetrieve {
        file: Named,
        transfer: OldTransfer,
        gzip: bool,
    },
    /// STORE_V2
    Store { file: Named, transfer: Transfer },
    /// RETR_V2
    Retrieve { file: Named, transfer: Transfer },
    /// SMALL_STORE
    SmallStore {
        file: Named,
        transfer: Transfer,
        content: Vec<u8>,
    },
    /// SMALL_RETR
    SmallRetrieve { file: Named, options: Options },
    /// STORE_FROM
    StoreFrom { file: Named, transfer: Transfer },
    /// RETR_FROM
    RetrieveFrom {
        file: Named,
        transfer: Transfer,
        missing: Vec<Missing>,
    },
    /// MKDIR: one that does not exist.
    OldMakeDirectory { file: Named },
    /// MKDIR_V2
    MakeDirectory { file: Named, options: Options },
    /// CHDIR and CHDIR_V2
    ChangeDirectory { file: Named },
    /// LIST
    OldList { file: Named },
    /// LIST_V2
    List { file: Named },
    /// RM
    Remove { file: Named },
    /// STAT
    Stat { file: Named },
    /// DF
    DiskSpace { file: Named },
    /// SHA256
    Digest { file: Named },
    /// CHUMASK
    SetUmask(u32),
    /// CHCOS
    SetClassOfService,
    /// OFFER
    Offer,
}

/// What has come of a message.
#[derive(Debug)]
pub enum Read {
    /// A request.
    Request(Request),
    /// None: this is answered in its place, also where its path is one that
    /// clients may not name.
    Refused(Reply, Option<Subject>),
    /// Nothing that is answered.
    Nothing,
    /// The client leaves.
    Leave,
}

/// Why a message can't be a request.
enum Fault {
    /// A field is wrong.
    Form(WireError),
    /// Its path is one that clients may not name.
    Path(&'static str, Vec<u8>),
    /// It asks for what there is not here.
    Unsupported(String),
    /// No version has it, or not this one, or not now.
    Unknown,
}

impl From<WireError> for Fault {
    fn from(e: WireError) -> Fault {
        Fault::Form(e)
    }
}

impl From<Fault> for Read {
    fn from(fault: Fault) -> Read {
        match fault {
            Fault::Form(e) => Read::Refused(Reply::no(e.to_string()), None),
            Fault::Unsupported(text) => Read::Refused(Reply::no(text), None),
            Fault::Unknown => Read::Refused(Reply::no("Unknown message in logged state"), None),
            Fault::Path(word, text) => {
                let reply = Reply::forbidden(word, &text);
                let subject = Subject {
                    command: "REFUSED",
                    path: text,
                    other: word.as_bytes().to_vec(),
                    effect: Effect::Reads,
                };
                Read::Refused(reply, Some(subject))
            }
        }
    }
}

/// Whether a message has a payload of the length it announces.
fn has_payload(code: Option<Code>) -> bool {
    !matches!(
        code,
        Some(
            Code::TransStartV3
                | Code::TransSimulV3
                | Code::ServerStatus
                | Code::Crypt
                | Code::CertLog
        )
    )
}

/// Reads what follows a header that nobody wants.
///
/// # Errors
/// Any failure of the connection.
pub fn discard(control: &mut Control, header: &Header) -> Result<()> {
    match has_payload(Code::try_from(header.code).ok()) {
        true => control.discard(header.len),
        false => Ok(()),
    }
}

/// Reads the rest of a message behind its header.
///
/// # Errors
/// Any failure of the connection.
pub fn read(
    control: &mut Control,
    header: &Header,
    version: Version,
    env: &mut Env,
) -> Result<Read> {
    let code = Code::try_from(header.code).ok();
    let most = match code {
        Some(Code::SmallStore) => extension::MAX_PAYLOAD,
        _ => MAX_REQUEST,
    };
    if !has_payload(code) || header.len as usize > most {
        discard(control, header)?;
        return Ok(match is_of_a_transfer(code) && env.may_come_late {
            true => Read::Nothing,
            false => {
                env.may_come_late |= begins_transfer(code, version);
                Fault::Unknown.into()
            }
        });
    }
    let payload = control.read_payload(header, most)?;
    match code {
        Some(Code::CloseConn) if version > Version::One => return Ok(Read::Leave),
        Some(Code::Abort | Code::Abr | Code::CreateZero) => return Ok(Read::Nothing),
        code if is_of_a_transfer(code) && env.may_come_late => return Ok(Read::Nothing),
        _ => {}
    }
    if let Some(code @ (Code::StoreV2 | Code::RetrV2)) = code
        && version > Version::One
    {
        return read_transfer(control, code, &payload, env);
    }
    let request = match code {
        Some(code) if version == Version::One => old_request(code, &payload, &env.directory),
        Some(code) => request(code, &payload, version, &env.directory),
        None => Err(Fault::Unknown),
    };
    Ok(request.map_or_else(Read::from, Read::Request))
}

/// Whether a client sends this in the course of a transfer, of which it may not
/// know yet that it has failed here.
fn is_of_a_transfer(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::FileName
                | Code::RetrStart
                | Code::TransStartV2
                | Code::TransSimul
                | Code::TransStartV3
                | Code::TransSimulV3
        )
    )
}

/// Whether the name of a file comes behind it.
fn begins_transfer(code: Option<Code>, version: Version) -> bool {
    version > Version::One && matches!(code, Some(Code::StoreV2 | Code::RetrV2))
}

/// A transfer of versions 2 and 3, whose file is named by a second message.
fn read_transfer(control: &mut Control, code: Code, payload: &[u8], env: &mut Env) -> Result<Read> {
    let transfer = match Transfer::decode(payload) {
        Ok(transfer) => transfer,
        Err(e) => {
            env.may_come_late = true;
            return Ok(Fault::Form(e).into());
        }
    };
    let header = control.read_header()?;
    match Code::try_from(header.code) {
        Ok(Code::FileName) if header.len as usize <= MAX_REQUEST => {}
        Ok(Code::Abort) => {
            control.discard(header.len)?;
            return Ok(Read::Nothing);
        }
        Ok(Code::CloseConn) => return Ok(Read::Leave),
        _ => {
            discard(control, &header)?;
            return Ok(Read::Refused(
                Reply::no("The name of the file is missing"),
                None,
            ));
        }
    }
    let name = control.read_payload(&header, MAX_REQUEST)?;
    let (word, is_store) = match code {
        Code::StoreV2 => ("STORE", true),
        _ => ("RETR", false),
    };
    let file = match decode_path(&name) {
        _ if transfer.options.has(Options::RFIO) => Err(no_rfio(word)),
        Ok(text) => named(word, text, &env.directory),
        Err(e) => Err(e.into()),
    };
    Ok(match file {
        Ok(file) if is_store => Read::Request(Request::Store { file, transfer }),
        Ok(file) => Read::Request(Request::Retrieve { file, transfer }),
        Err(fault) => fault.into(),
    })
}

type Parsed = std::result::Result<Request, Fault>;

/// A request of version 1.
fn old_request(code: Code, payload: &[u8], directory: &RootPath) -> Parsed {
    let transfer = |word| {
        let transfer = OldTransfer::decode(payload)?;
        let file = named(word, &transfer.name, directory)?;
        Ok::<_, Fault>((file, transfer))
    };
    let path = |word| named(word, decode_path(payload)?, directory);
    Ok(match code {
        Code::Store | Code::StoreC => {
            let (file, transfer) = transfer("STORE")?;
            let gzip = code == Code::StoreC;
            Request::OldStore {
                file,
                transfer,
                gzip,
            }
        }
        Code::Retr | Code::RetrC => {
            let (file, transfer) = transfer("RETR")?;
            let gzip = code == Code::RetrC;
            Request::OldRetrieve {
                file,
                transfer,
                gzip,
            }
        }
        Code::RetrRfio | Code::RetrRfioC => return Err(no_rfio("RETR")),
        Code::MkDir => Request::OldMakeDirectory {
            file: path("MKDIR")?,
        },
        Code::ChDir => Request::ChangeDirectory {
            file: path("CHDIR")?,
        },
        Code::List => Request::OldList {
            file: path("LIST")?,
        },
        _ => return Err(Fault::Unknown),
    })
}

/// A request of versions 2 and 3 that is one message.
fn request(code: Code, payload: &[u8], version: Version, directory: &RootPath) -> Parsed {
    let path = |word| {
        let (options, text) = decode_with_options(payload)?;
        match options.has(Options::RFIO) {
            true => Err(no_rfio(word)),
            false => Ok((named(word, text, directory)?, options)),
        }
    };
    let file = |word| path(word).map(|(file, _)| file);
    Ok(match code {
        Code::MkDirV2 => {
            let (file, options) = path("MKDIR")?;
            Request::MakeDirectory { file, options }
        }
        Code::ChDirV2 => Request::ChangeDirectory {
            file: file("CHDIR")?,
        },
        Code::ListV2 => Request::List {
            file: file("LIST")?,
        },
        Code::Rm => Request::Remove { file: file("RM")? },
        Code::Stat => Request::Stat {
            file: file("STAT")?,
        },
        Code::Df => Request::DiskSpace { file: file("DF")? },
        Code::ChUmask => Request::SetUmask(decode_number(payload)?),
        Code::ChCos => {
            decode_number(payload)?;
            Request::SetClassOfService
        }
        _ if version == Version::Three => return extended(code, payload, directory),
        _ => return Err(Fault::Unknown),
    })
}

/// A request that tfd has beyond version 3.
fn extended(code: Code, payload: &[u8], directory: &RootPath) -> Parsed {
    Ok(match code {
        Code::Sha256 => Request::Digest {
            file: named("SHA256", decode_path(payload)?, directory)?,
        },
        Code::SmallStore => {
            let SmallStore {
                transfer,
                name,
                content,
            } = SmallStore::decode(payload)?;
            Request::SmallStore {
                file: named("STORE", name, directory)?,
                transfer,
                content: content.to_vec(),
            }
        }
        Code::SmallRetr => {
            let (options, text) = decode_with_options(payload)?;
            let file = named("RETR", text, directory)?;
            Request::SmallRetrieve { file, options }
        }
        Code::StoreFrom => {
            let StoreFrom { transfer, name } = StoreFrom::decode(payload)?;
            let file = named("STORE", name, directory)?;
            Request::StoreFrom { file, transfer }
        }
        Code::RetrFrom => {
            let RetrFrom {
                transfer,
                missing,
                name,
            } = RetrFrom::decode(payload)?;
            Request::RetrieveFrom {
                file: named("RETR", name, directory)?,
                transfer,
                missing,
            }
        }
        Code::Offer => Request::Offer,
        _ => return Err(Fault::Unknown),
    })
}

fn no_rfio(word: &str) -> Fault {
    Fault::Unsupported(format!("Fail to {word} : RFIO not supported"))
}

fn named(
    word: &'static str,
    text: &[u8],
    directory: &RootPath,
) -> std::result::Result<Named, Fault> {
    let path = resolve(text, directory).map_err(|_| Fault::Path(word, text.to_vec()))?;
    let text = text.to_vec();
    Ok(Named { text, path })
}

/// What a path leads to from a directory. `..` goes by the names written, and not
/// above the root.
///
/// # Errors
/// `Forbidden` for a path that clients may not name.
pub fn resolve(text: &[u8], directory: &RootPath) -> std::result::Result<RootPath, Forbidden> {
    let start = match text.first() {
        Some(b'/') => RootPath::root(),
        _ => directory.clone(),
    };
    let mut names: Vec<&[u8]> = start.names().collect();
    for name in text.split(|c| *c == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut path = names.join(&b'/');
    let is_directory = [&b"/"[..], b"/.", b"/.."]
        .iter()
        .any(|end| text.ends_with(end));
    if is_directory {
        path.push(b'/');
    }
    RootPath::parse(&path, &POLICY)
}

impl Request {
    /// What it does to files.
    pub fn effect(&self) -> Effect {
        match self {
            Request::OldStore { .. }
            | Request::Store { .. }
            | Request::SmallStore { .. }
            | Request::StoreFrom { .. }
            | Request::OldMakeDirectory { .. }
            | Request::MakeDirectory { .. } => Adds,
            Request::Remove { .. } => Changes,
            _ => Reads,
        }
    }

    /// Its name in status and audit log.
    pub fn word(&self) -> &'static str {
        match self {
            Request::OldStore { .. }
            | Request::Store { .. }
            | Request::SmallStore { .. }
            | Request::StoreFrom { .. } => "STORE",
            Request::OldRetrieve { .. }
            | Request::Retrieve { .. }
            | Request::SmallRetrieve { .. }
            | Request::RetrieveFrom { .. } => "RETR",
            Request::OldMakeDirectory { .. } | Request::MakeDirectory { .. } => "MKDIR",
            Request::ChangeDirectory { .. } => "CHDIR",
            Request::OldList { .. } | Request::List { .. } => "LIST",
            Request::Remove { .. } => "RM",
            Request::Stat { .. } => "STAT",
            Request::DiskSpace { .. } => "DF",
            Request::Digest { .. } => "SHA256",
            Request::SetUmask(_) => "CHUMASK",
            Request::SetClassOfService => "CHCOS",
            Request::Offer => "OFFER",
        }
    }

    /// The path it names.
    pub fn file(&self) -> Option<&Named> {
        match self {
            Request::OldStore { file, .. }
            | Request::OldRetrieve { file, .. }
            | Request::Store { file, .. }
            | Request::Retrieve { file, .. }
            | Request::SmallStore { file, .. }
            | Request::SmallRetrieve { file, .. }
            | Request::StoreFrom { file, .. }
            | Request::RetrieveFrom { file, .. }
            | Request::OldMakeDirectory { file }
            | Request::MakeDirectory { file, .. }
            | Request::ChangeDirectory { file }
            | Request::OldList { file }
            | Request::List { file }
            | Request::Remove { file }
            | Request::Stat { file }
            | Request::DiskSpace { file }
            | Request::Digest { file } => Some(file),
            Request::SetUmask(_) | Request::SetClassOfService | Request::Offer => None,
        }
    }

    /// What it is about; `None` where it names no path.
    pub fn subject(&self) -> Option<Subject> {
        let file = self.file()?;
        Some(Subject {
            command: self.word(),
            path: file.path.as_bytes().to_vec(),
            other: Vec::new(),
            effect: self.effect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str, directory: &str) -> Option<String> {
        let directory = RootPath::parse(directory.as_bytes(), &POLICY).expect("directory");
        let path = resolve(text.as_bytes(), &directory).ok()?;
        Some(String::from_utf8(path.as_bytes().to_vec()).expect("UTF-8"))
    }

    #[test]
    fn paths_are_resolved_from_the_working_directory_and_never_above_the_root() {
        for (text, expected) in [
            ("f", "a/b/f"),
            ("/f", "f"),
            ("../f", "a/f"),
            ("../../../../f", "f"),
            ("./x//y/", "a/b/x/y"),
            (".", "a/b"),
            ("/", ""),
            ("/..", ""),
            ("x/../y", "a/b/y"),
        ] {
            assert_eq!(resolved(text, "a/b").as_deref(), Some(expected), "{text}");
        }
        let part = format!(".tfd-{}.part", "0".repeat(32));
        for hidden in ["jail.key", "/x/jail.key/y", &part] {
            assert_eq!(resolved(hidden, "a/b"), None, "{hidden}");
        }
        assert!(
            resolve(b"x/", &RootPath::root())
                .expect("path")
                .names_directory()
        );
    }
}
