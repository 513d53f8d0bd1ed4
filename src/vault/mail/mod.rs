//! Mails with codes: what the process that keeps the accounts asks of the mailer, and
//! that process. It knows the password of the mail server, the code of the mail that
//! it sends, and nothing else; a mail server that stalls holds up mails alone.

mod letter;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, Tls, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};

use super::accounts::Secret;
use super::accounts::codes::Kind;
use crate::config::{Mail as Settings, MailSecurity};
use crate::ipc::codec::codec;
use crate::ipc::{Helper, Pipe};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, lookup_directories, place};
use crate::session::protocol::HelperContext;
use crate::trusted;

/// How long a mail server may take for each answer, and for a whole mail.
const ANSWER: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_secs(120);

/// The longest reason of a failure that is passed on, in characters.
const MAX_REASON: usize = 200;

/// A mail with a code.
#[derive(Debug)]
pub struct Mail {
    /// To whom.
    pub to: String,
    /// The name of the account.
    pub user: String,
    /// What the code is for.
    pub kind: Kind,
    /// The code.
    pub code: Secret,
    /// How long it is valid, in minutes.
    pub minutes: u32,
}

codec!(struct Mail { to, user, kind, code, minutes });

/// What has come of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Mailed {
    /// Nothing was sent so far: the mailer is ready.
    Ready,
    /// The mail server has taken it.
    Sent,
    /// It may take it later; why it has not now.
    Later(String),
    /// It will never take it, and why.
    Never(String),
}

codec!(enum Mailed { 1 => Ready, 2 => Sent, 3 => Later(why), 4 => Never(why) });

/// The mailer's end.
pub type ToAccounts = Pipe<Mailed, Mail>;

/// The other end of that.
pub type ToMailer = Pipe<Mail, Mailed>;

/// Starts the mailer.
///
/// # Errors
/// One line that says what could not be started.
pub fn spawn(
    context: &HelperContext<'_>,
    settings: &Settings,
    accounts: &ToAccounts,
) -> Result<Helper, String> {
    let sandbox = context.sandbox.reaching(Reach::Names);
    let sandbox = sandbox.map_err(|e| format!("mailer: {e}"))?;
    let mut confinement = Confinement::new(context.identity, &sandbox)?;
    // Lookups need the files of the real root.
    confinement.empty_root = None;
    <Helper>::spawn_ready("mailer", |child| {
        let sender = Sender::new(settings).map_err(io::Error::other)?;
        let files: Vec<OwnedFd> = lookup_directories().collect();
        let mut handles: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let duty = Duty::Mailing {
            port: settings.port,
            files: &handles.clone(),
        };
        handles.push(accounts.as_fd());
        child.enter(c"tfd-mailer", &confinement.with(duty), &handles)?;
        drop(files);
        place::reached(place::Place::Helper("mailer"), place::NOBODY, None);
        child.ready()?;
        run(accounts, sender)
    })
}

/// Whether all that the mailer reads at its start is right.
///
/// # Errors
/// One line that says what is not.
pub fn check(settings: &Settings) -> Result<(), String> {
    Sender::new(settings).map(drop)
}

/// Sends mails one by one until nobody has any.
fn run(accounts: &ToAccounts, sender: Sender) -> io::Result<()> {
    let (mails, to_send) = mpsc::channel::<Mail>();
    let (outcomes, sent) = mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        for mail in to_send {
            let _ = outcomes.send(sender.send(&mail));
        }
    })?;
    accounts.send(&Mailed::Ready)?;
    while let Some(mail) = accounts.receive()? {
        mails.send(mail).map_err(io::Error::other)?;
        // Another process tries again.
        let outcome = sent
            .recv_timeout(WHOLE)
            .map_err(|_| io::Error::other("the mail server has taken too long for a mail"))?;
        accounts.send(&outcome)?;
    }
    Ok(())
}

/// What sends mails.
struct Sender {
    transport: SmtpTransport,
    from: Mailbox,
}

impl Sender {
    fn new(settings: &Settings) -> Result<Sender, String> {
        let from = settings.from.parse::<Mailbox>();
        let from = from.map_err(|e| format!("vault.mail_from: {e}"))?;
        let tls = || {
            let roots = authorities(settings)?;
            let builder = TlsParameters::builder(settings.host.clone());
            let builder = builder.certificate_store(CertificateStore::None);
            let builder = roots
                .into_iter()
                .fold(builder, TlsParametersBuilder::add_root_certificate);
            builder.build().map_err(|e| format!("vault.smtp: {e}"))
        };
        let tls = match settings.security {
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::StartTls => Tls::Required(tls()?),
            MailSecurity::None => Tls::None,
        };
        let mut builder = SmtpTransport::builder_dangerous(settings.host.clone())
            .port(settings.port)
            .tls(tls)
            .timeout(Some(ANSWER))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        if let (Some(user), Some(file)) = (&settings.user, &settings.password_file) {
            let remedy = "it has the password of vault.smtp, in one line";
            let secret = trusted::read_secret(file, remedy)?;
            let text = std::str::from_utf8(&secret).unwrap_or_default();
            let password = text.trim_end_matches(['\r', '\n']);
            if password.is_empty() || password.contains(['\r', '\n', '\0']) {
                return Err(format!("{}: not one line: {remedy}", file.display()));
            }
            builder = builder.credentials(Credentials::new(user.clone(), password.to_owned()));
        }
        Ok(Sender {
            transport: builder.build(),
            from,
        })
    }

    fn send(&self, mail: &Mail) -> Mailed {
        let letter = match letter::write(&self.from, mail) {
            Ok(letter) => letter,
            Err(why) => return Mailed::Never(why),
        };
        match self.transport.send(&letter) {
            Ok(_) => Mailed::Sent,
            Err(e) if e.is_permanent() => Mailed::Never(reason(&e)),
            Err(e) => Mailed::Later(reason(&e)),
        }
    }
}

/// Why a mail was not sent, with what has caused that, in one line.
fn reason(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let next = e.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = e.source();
    }
    text.chars().take(MAX_REASON).collect()
}

/// Who vouches for the mail server.
fn authorities(settings: &Settings) -> Result<Vec<Certificate>, String> {
    if let Some(path) = &settings.authorities {
        let shown = path.display();
        let pem = fs::read(path).map_err(|e| format!("vault.smtp_ca: {shown}: {e}"))?;
        let roots = openssl::x509::X509::stack_from_pem(&pem);
        let roots =
            roots.map_err(|_| format!("vault.smtp_ca: {shown}: not certificates in PEM"))?;
        let der = roots
            .iter()
            .map(|root| root.to_der().map_err(|e| e.to_string()));
        return der.map(|der| certificate(der?)).collect();
    }
    let found = rustls_native_certs::load_native_certs().certs;
    let roots = found.into_iter().map(|root| certificate(root.to_vec()));
    let roots: Vec<Certificate> = roots.filter_map(Result::ok).collect();
    if roots.is_empty() {
        let text = "the system has no authorities: install ca-certificates, or set vault.smtp_ca";
        return Err(text.to_owned());
    }
    Ok(roots)
}

fn certificate(der: Vec<u8>) -> Result<Certificate, String> {
    Certificate::from_der(der).map_err(|e| e.to_string())
}
