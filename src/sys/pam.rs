//! Linux-PAM, loaded when a process asks for it, so that nothing else needs it.
//! What the modules behind it do is not known here: who calls them is a process of
//! its own.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::slice;

use zeroize::Zeroizing;

/// The library, by the name that its interface has.
const LIBRARY: &CStr = c"libpam.so.0";

/// What calls return, as far as it is told apart (_pam_types.h).
pub const SUCCESS: i32 = 0;
/// The password is wrong.
pub const AUTH_ERR: i32 = 7;
/// The modules have no such user.
pub const USER_UNKNOWN: i32 = 10;
/// Too many attempts.
pub const MAXTRIES: i32 = 11;
/// The account may not be used now.
pub const PERM_DENIED: i32 = 6;
/// The password has expired.
pub const NEW_AUTHTOK_REQD: i32 = 12;
/// The account has expired.
pub const ACCT_EXPIRED: i32 = 13;
/// The same of what logs in.
pub const AUTHTOK_EXPIRED: i32 = 27;
const BUF_ERR: c_int = 5;
const CONV_ERR: c_int = 19;

const DISALLOW_NULL_AUTHTOK: c_int = 1;
const SILENT: c_int = 0x8000;

const PROMPT_ECHO_OFF: c_int = 1;
const PROMPT_ECHO_ON: c_int = 2;

const MOST_MESSAGES: c_int = 32;

/// What a module gets to know (pam_set_item(3)).
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// The terminal, or the name of the program that has none.
    Tty = 3,
    /// The client's address.
    RemoteHost = 4,
}

const FAIL_DELAY: c_int = 10;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Call = extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    call: Call,
    data: *mut c_void,
}

/// What a handle of the library is to this program.
type Opaque = *mut c_void;

type Start =
    unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut Opaque) -> c_int;
type SetItem = unsafe extern "C" fn(Opaque, c_int, *const c_void) -> c_int;
type Step = unsafe extern "C" fn(Opaque, c_int) -> c_int;
type Describe = unsafe extern "C" fn(Opaque, c_int) -> *const c_char;

/// The functions of the library.
pub struct Library {
    start: Start,
    set_item: SetItem,
    authenticate: Step,
    manage_account: Step,
    end: Step,
    describe: Describe,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}

impl Library {
    /// Loads the library, for as long as the process lives.
    ///
    /// # Errors
    /// One line: why it can't be loaded.
    pub fn load() -> Result<Library, String> {
        // SAFETY: the name is a string. The library's own constructors run, as
        // they do in each program that is linked to it.
        let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return Err(last_error());
        }
        // SAFETY: `library` stays open for good. Each symbol is a function of
        // Linux-PAM 1.0 or later, which the name of the library stands for, and its
        // type is the one of pam_appl.h: pointers and ints as here, `Opaque` for
        // `pam_handle_t *`, and `Conversation` for `struct pam_conv`.
        unsafe {
            Ok(Library {
                start: std::mem::transmute::<*mut c_void, Start>(symbol(library, c"pam_start")?),
                set_item: std::mem::transmute::<*mut c_void, SetItem>(symbol(
                    library,
                    c"pam_set_item",
                )?),
                authenticate: std::mem::transmute::<*mut c_void, Step>(symbol(
                    library,
                    c"pam_authenticate",
                )?),
                manage_account: std::mem::transmute::<*mut c_void, Step>(symbol(
                    library,
                    c"pam_acct_mgmt",
                )?),
                end: std::mem::transmute::<*mut c_void, Step>(symbol(library, c"pam_end")?),
                describe: std::mem::transmute::<*mut c_void, Describe>(symbol(
                    library,
                    c"pam_strerror",
                )?),
            })
        }
    }
}

/// The address of a function; never null.
fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: `library` is an open library (its only caller has just opened it),
    // and the name is a string.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    match found.is_null() {
        true => Err(last_error()),
        false => Ok(found),
    }
}

/// What the loader says of the last failure.
fn last_error() -> String {
    // SAFETY: the result is null or a string that stays until this thread's next
    // call of the loader.
    unsafe {
        let text = libc::dlerror();
        match text.is_null() {
            true => "unknown error".to_owned(),
            false => CStr::from_ptr(text).to_string_lossy().into_owned(),
        }
    }
}

/// What a module asks the client: whether what is typed may be seen, and the text.
/// Without an answer the conversation has failed.
pub type Answers<'a> = Box<dyn FnMut(bool, &[u8]) -> Option<Zeroizing<Vec<u8>>> + 'a>;

/// One login, from its begin to its end.
pub struct Transaction<'a> {
    library: &'a Library,
    handle: Opaque,
    /// Of a `Box`, which the conversation refers to.
    answers: *mut Answers<'a>,
    status: c_int,
    lives: PhantomData<Answers<'a>>,
}

impl<'a> Transaction<'a> {
    /// Begins the login of a user to a service; `answers` speaks for the client.
    ///
    /// # Errors
    /// The library's code.
    pub fn begin(
        library: &'a Library,
        (service, user): (&str, &str),
        answers: Answers<'a>,
    ) -> Result<Transaction<'a>, i32> {
        let text = |text: &str| CString::new(text).map_err(|_| BUF_ERR);
        let (service, user) = (text(service)?, text(user)?);
        let answers = Box::into_raw(Box::new(answers));
        let conversation = Conversation {
            call: converse,
            data: answers.cast(),
        };
        let mut handle = null_mut();
        // SAFETY: all are valid for the call, and the library copies them.
        // `answers` stays until the handle is ended, in `drop`.
        let status = unsafe {
            (library.start)(
                service.as_ptr(),
                user.as_ptr(),
                &raw const conversation,
                &raw mut handle,
            )
        };
        let transaction = Transaction {
            library,
            handle,
            answers,
            status,
            lives: PhantomData,
        };
        match status {
            SUCCESS => Ok(transaction),
            code => Err(code),
        }
    }

    /// Lets modules know something.
    ///
    /// # Errors
    /// The library's code.
    pub fn set(&mut self, item: Item, text: &str) -> Result<(), i32> {
        let text = CString::new(text).map_err(|_| BUF_ERR)?;
        // SAFETY: the handle is one that was started; these items are strings,
        // which the library copies.
        self.status =
            unsafe { (self.library.set_item)(self.handle, item as c_int, text.as_ptr().cast()) };
        self.result()
    }

    /// Has failures answered at once: the caller delays them itself.
    ///
    /// # Errors
    /// The library's code.
    pub fn without_delay(&mut self) -> Result<(), i32> {
        let function: extern "C" fn(c_int, c_uint, *mut c_void) = no_delay;
        // SAFETY: the handle is one that was started; this item is a function of
        // this type (pam_fail_delay(3)), which exists for good.
        self.status =
            unsafe { (self.library.set_item)(self.handle, FAIL_DELAY, function as *const c_void) };
        self.result()
    }

    /// Whether it is who it claims to be. An empty password never says so.
    ///
    /// # Errors
    /// The library's code.
    pub fn authenticate(&mut self) -> Result<(), i32> {
        // SAFETY: the handle is one that was started, and takes these flags.
        self.status =
            unsafe { (self.library.authenticate)(self.handle, SILENT | DISALLOW_NULL_AUTHTOK) };
        self.result()
    }

    /// Whether the account may be used now.
    ///
    /// # Errors
    /// The library's code.
    pub fn manage_account(&mut self) -> Result<(), i32> {
        // SAFETY: as above.
        self.status =
            unsafe { (self.library.manage_account)(self.handle, SILENT | DISALLOW_NULL_AUTHTOK) };
        self.result()
    }

    /// What the library calls a code.
    pub fn describe(&self, code: i32) -> String {
        // SAFETY: the handle is one that was started; the result is null or a
        // string that exists for good.
        unsafe {
            let text = (self.library.describe)(self.handle, code);
            match text.is_null() {
                true => format!("error {code}"),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            }
        }
    }

    fn result(&self) -> Result<(), i32> {
        match self.status {
            SUCCESS => Ok(()),
            code => Err(code),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is null or was started and not ended; `answers` came
        // from a `Box`, and nothing uses it once the handle is ended.
        unsafe {
            if !self.handle.is_null() {
                (self.library.end)(self.handle, self.status);
            }
            drop(Box::from_raw(self.answers));
        }
    }
}

extern "C" fn no_delay(_status: c_int, _microseconds: c_uint, _data: *mut c_void) {}

/// The conversation function: answers what a module asks, passes over what it says.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Some(len) = usize::try_from(count)
        .ok()
        .filter(|len| *len > 0 && count <= MOST_MESSAGES)
    else {
        return CONV_ERR;
    };
    // SAFETY: by pam_conv(3), `messages` has `count` pointers to messages, whose
    // texts are strings; `responses` is where to put the array of answers; `data`
    // is what `begin` has given, which only this function uses meanwhile. The
    // answers are of malloc and calloc, for the library frees them.
    unsafe {
        let messages = slice::from_raw_parts(messages, len);
        let answers = &mut *data.cast::<Answers<'_>>();
        let array = libc::calloc(len, size_of::<Response>()).cast::<Response>();
        if array.is_null() {
            return BUF_ERR;
        }
        for (at, message) in messages.iter().enumerate() {
            let Message { style, text } = **message;
            if ![PROMPT_ECHO_OFF, PROMPT_ECHO_ON].contains(&style) {
                continue;
            }
            let text = match text.is_null() {
                true => &[],
                false => CStr::from_ptr(text).to_bytes(),
            };
            let answer = answers(style == PROMPT_ECHO_ON, text);
            let copied = answer.map_or(null_mut(), |answer| copy(&answer));
            if copied.is_null() {
                forget(array, at);
                return CONV_ERR;
            }
            (*array.add(at)).text = copied;
        }
        *responses = array;
    }
    SUCCESS
}

/// The bytes as a string of malloc; null if memory is short.
fn copy(bytes: &[u8]) -> *mut c_char {
    // SAFETY: the memory has a byte more than `bytes`, for the one that ends it.
    unsafe {
        let copied = libc::malloc(bytes.len() + 1).cast::<u8>();
        if !copied.is_null() {
            copied.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            *copied.add(bytes.len()) = 0;
        }
        copied.cast()
    }
}

/// Wipes and frees an array of which so many may have been filled.
///
/// # Safety
/// The array is of calloc and has more elements than that, each null or a string
/// of malloc.
unsafe fn forget(array: *mut Response, filled: usize) {
    // SAFETY: the contract above.
    unsafe {
        for at in 0..filled {
            let text = (*array.add(at)).text;
            if !text.is_null() {
                libc::explicit_bzero(text.cast(), libc::strlen(text));
                libc::free(text.cast());
            }
        }
        libc::free(array.cast());
    }
}
