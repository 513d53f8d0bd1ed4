//! The table of keys: one row for each key of tfd.toml, with its section, type
//! and range, default, and text. The file is read by it; conf/tfd.toml and the
//! list of keys in tfd.toml(5) are held to it by a test.

use super::{check, holder, hub, shared_state, vault};

/// A key.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) shown: Shown,
    /// What conf/tfd.toml shows, in TOML.
    pub(super) value: &'static str,
    /// What conf/tfd.toml says of it; empty if the key above says it all.
    #[cfg(test)]
    pub(super) text: &'static str,
}

/// Whether a text is right; if not, why.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// Type and range of a value.
pub(super) enum Kind {
    Flag,
    /// Least and largest.
    Int(u64, u64),
    /// Least, in seconds.
    Seconds(f64),
    Choice(&'static [&'static str]),
    /// Longest, in bytes.
    Text(usize),
    Checked(Check),
    Path,
    List(Check),
    /// A list; least and largest of each.
    Numbers(u64, u64),
}

/// What the value in conf/tfd.toml stands for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shown {
    /// It is what holds if the key is left out.
    Default,
    /// It is an example: the key has no default, or not always this one.
    Example,
    /// It is set there, and has no default.
    Set,
}

macro_rules! keys {
    ($($section:ident $name:ident: $kind:expr, $shown:ident $value:tt, $text:literal;)*) => {
        &[$(Key {
            section: stringify!($section),
            name: stringify!($name),
            kind: $kind,
            shown: Shown::$shown,
            value: stringify!($value),
            #[cfg(test)]
            text: $text,
        }),*]
    };
}

use Kind::{Checked, Choice, Flag, Int, List, Numbers, Path, Seconds, Text};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = keys! {
    server user: Text(255), Set "tfd",
        "The system user that clients act as in single-user mode, and that every process facing \
         the network before login runs as. Needed when root starts tfd.";
    server helper_user: Text(255), Example "tfd-helper",
        "The system user of helper processes; no client and no other program should have it \
         (left out: tfd-helper, and if there is none, an unused uid).";
    server root: Path, Set "/srv/tfd", "The directory that clients see.";
    server log: Checked(check::log_filter), Default "info",
        "What is logged: error, warn, info, debug or trace.";
    server log_file: Path, Example "/var/log/tfd/tfd.log",
        "The file that the log goes to (left out: standard error, so the journal).";
    server log_format: Choice(&["text", "json", "journal"]), Default "text",
        "The form of the log: \"text\"; \"json\", an object a line; \"journal\", fields for \
         systemd's journal.";
    server control: Path, Example "/run/tfd/control",
        "The socket of tfd status and tfd kick (left out: this one if root starts tfd; \"\": \
         none).";
    server metrics: Checked(check::local), Example "127.0.0.1:9345",
        "Where Prometheus finds metrics, a loopback address or a socket's path (left out: \
         nowhere).";
    server metrics_accounts: Int(0, 10_000), Default 0,
        "How many accounts have metrics of their own, the first that log in; the others are \
         counted together (0: none).";
    server on_upload: List(check::argument), Example ["/usr/local/bin/import", "--quiet"],
        "A program that is run for each file that clients have uploaded, by user, with its \
         arguments; the file is in TFD_PATH (left out: none). See tfd(8), UPLOADS.";
    server on_upload_parallel: Int(1, 1000), Default 4,
        "How many of them run at once, how long each may take, in seconds, and where the jobs \
         are kept (left out: /var/lib/tfd/uploads if root starts tfd).";
    server on_upload_timeout: Seconds(1e-3), Default 600, "";
    server on_upload_queue: Path, Example "/var/lib/tfd/uploads", "";
    server audit: Path, Example "/var/log/tfd/audit.jsonl",
        "A log of who did what to which path, a JSON object a line (left out: none).";
    server stop_grace: Seconds(0.0), Default 3,
        "How long running transfers may go on after a request to stop, in seconds.";
    server max_sessions: Int(1, 1_000_000), Default 4096,
        "The most connections at once, in all and from one address (0: no limit).";
    server max_sessions_per_address: Int(0, 4_294_967_295), Default 256, "";
    server max_unauthenticated: Int(1, 1_000_000), Default 3000,
        "The most of them that have not logged in yet. From three quarters of it on, new ones are \
         refused at random.";
    server max_unauthenticated_per_address: Int(0, 1_000_000), Default 32,
        "The most of these from one address, and from one network, an IPv4 /24 or an IPv6 /56 (0: \
         no limit).";
    server max_unauthenticated_per_network: Int(0, 1_000_000), Default 64, "";
    server sandbox: Flag, Default true,
        "Whether processes enter the sandbox (Landlock, seccomp).";
    server allow_root_user: Flag, Default false, "Whether user may be root.";
    server mode: Choice(&["single-user", "multi-user"]), Default "single-user",
        "\"single-user\": all clients act as user. \"multi-user\": clients log in, and each acts \
         as the system user of its account (tfd user add, tfd-users(5)).";
    server users: Path, Example "/etc/tfd/users", "";
    server auth: Choice(&["file", "pam"]), Default "file",
        "What checks the passwords of accounts: \"file\", the users file; \"pam\", the system's \
         PAM, and so LDAP and others (tfd(8), PAM).";
    server pam_service: Checked(check::service_of_pam), Default "tfd",
        "With PAM: the service, a file in /etc/pam.d; how long a check may take, in seconds; the \
         digits of the one-time code that clients send behind the password, for a second prompt \
         (0: none).";
    server pam_timeout: Seconds(1.0), Default 30, "";
    server pam_code_digits: Int(0, 8), Default 0, "";
    server login_failures: Int(0, 4_294_967_295), Default 10,
        "Failed logins from an address until it is blocked (0: never), and for how long, in \
         seconds; twice as long with each further one.";
    server login_block: Seconds(0.0), Default 60, "";
    server quota: Checked(check::size), Example "500G",
        "The most bytes that all files beneath the root may have, as \"500G\" or \"2T\" (left \
         out: no limit). Accounts may have quotas of their own.";
    server shared_state: Checked(shared_state::check_store), Example "rediss://tfd@db.example.org",
        "The store, Redis or Valkey, by which several servers share their state (left out: each \
         has its own). See tfd(8), SHARED STATE.";
    server shared_state_name: Checked(shared_state::check_name), Default "tfd",
        "The name that these servers have in the store; the file with the password for it, which \
         root alone reads; and the authorities that its certificate may be from (left out: those \
         of the system).";
    server shared_state_password_file: Path, Example "/etc/tfd/state-password", "";
    server shared_state_ca: Path, Example "/etc/tfd/state-ca.pem", "";
    server keep_parts: Seconds(0.0), Default 604800,
        "How long the parts of broken-off uploads are kept for tf to resume, in seconds (0: for \
         ever). They count for quotas.";
    server jail: Flag, Default false,
        "Whether clients must enter a directory that has a token file, jail.key.";
    server handshake_timeout: Seconds(1e-9), Default 10,
        "How long a client may take to get in, in seconds.";
    server idle_timeout: Seconds(0.0), Default 3600,
        "How long a client that is in may stand still, in seconds (0: for ever).";
    server tls_certificate: Path, Example "/etc/tfd/tls.pem",
        "The certificate and key of the listeners with TLS, made by tfd keygen --tls NAME or \
         issued by an authority.";
    server tls_key: Path, Example "/etc/tfd/tls-key.pem", "";
    server tls_client_ca: Path, Example "/etc/tfd/clients.pem",
        "In multi-user mode: the authorities whose certificates log clients in.";
    server kernel_tls: Choice(&["auto", "off"]), Default "auto",
        "Whether the kernel encrypts what is sent over TLS, if it can (\"auto\"), or tfd does \
         (\"off\").";
    server data_timeout: Seconds(1e-3), Default 30,
        "How long a data connection of a protocol that has such may take to come about, in \
         seconds.";
    server accept_proxy_from: List(check::network), Example ["192.0.2.10/32"],
        "The proxies in front of this server, whose connections must begin with a PROXY header.";
    server durability: Choice(&["system", "file"]), Default "system",
        "When an upload is acknowledged: \"system\" when the system has it, \"file\" when it is \
         on disk.";
    server file_mode: Checked(check::mode), Default "0644",
        "Modes of new files and directories, before the umask.";
    server directory_mode: Checked(check::mode), Default "0755", "";

    tf listen: List(check::listen), Set ["0.0.0.0:10345", "[::]:10345"],
        "Where to listen. An IPv6 address takes IPv6 clients only.";
    tf tls_listen: List(check::listen), Example ["0.0.0.0:10346", "[::]:10346"],
        "Where to listen with TLS 1.3, by tls_certificate and tls_key of [server] (left out: \
         nowhere).";
    tf version: Text(31), Set "0.0",
        "What clients must send: version first, hash last. The hash is a secret of all clients: \
         put in what openssl rand -hex 16 prints.";
    tf hash: Checked(check::hash), Set "change this", "";
    tf private_key: Path, Set "/etc/tfd/private.pem",
        "The RSA private key, made by tfd keygen.";
    tf dialect: Choice(&["deployed", "document"]), Default "deployed",
        "\"deployed\" as the public C server speaks, \"document\" as the document says.";
    tf tlb_pool: Path, Example "/etc/tfd/pool",
        "The servers that TLB sends clients to while they are alive: a file with a line \"4 \
         ip;port\" or \"6 ip;port\" for each, SRV records, or both.";
    tf tlb_dns: Checked(check::service), Example "_tf._tcp.example.org", "";
    tf proxy_to: Checked(check::backend), Example "192.0.2.1:10345",
        "Serve no file and relay every client to the server behind this one (left out: serve). \
         Then version, hash, root and private_key may be left out. Names are looked up again \
         every 30 seconds.";
    tf proxy_from: List(check::source), Example ["192.0.2.10", "192.0.2.11"],
        "Local addresses to connect from, in turn: each has ports of its own.";
    tf proxy_protocol: Flag, Default false,
        "Whether to send the client's address to the server behind this one (PROXY protocol v2).";
    tf notify_interval_floor: Seconds(1e-6), Default 0.001,
        "The shortest interval of notification mode that a client may ask for, in seconds.";
    tf keystream_table: Choice(&["auto", "off"]), Default "auto",
        "Tables that speed up streams above some 20 to 540 MB: made when a session can use them \
         (\"auto\") or never (\"off\"), in this much memory for all sessions together, in MiB \
         (left out: 512, but no more than a quarter of the machine's).";
    tf keystream_memory: Int(0, 1 << 20), Example 512, "";
    tf extension: Flag, Default true,
        "Whether to answer the words of tfd's extension (TFD_...), by which tf keeps modes, \
         times and links and moves small files in one request each.";
    tf buffer_limit: Int(1, 1 << 30), Default 8388608,
        "The largest buffer that PUT and GET agree on, in bytes.";
    tf integrity_limit: Int(0, 1 << 30), Default 16777216,
        "The largest file that INTREAD and INTWRITE take, in bytes; a session holds it in memory.";

    bbftp listen: List(check::listen), Example ["0.0.0.0:5021", "[::]:5021"],
        "Where to listen for BBFTP, in multi-user mode (left out: nowhere).";
    bbftp tls_listen: List(check::listen), Example ["0.0.0.0:5022", "[::]:5022"],
        "The same inside TLS 1.3, control and data, for bbftp of tfd.";
    bbftp password_logins: Choice(&["rsa", "tls"]), Default "tls",
        "Where passwords are accepted: \"tls\" inside TLS alone; \"rsa\" also encrypted by the \
         protocol's own RSA with 1024 bits, which every other client uses, and which protects \
         nobody from an attacker between client and server.";
    bbftp versions: Numbers(1, 3), Default [1, 2, 3], "The versions of the protocol that are spoken.";
    bbftp data_ports: Checked(check::port_range), Example "20000-20100",
        "The ports of this machine that clients of version 3 connect to for data (left out: any).";
    bbftp active_source_port: Choice(&["control-1", "any"]), Default "control-1",
        "The port that data connections to clients of versions 1 and 2 come from: \"control-1\" \
         the one below the port of the control connection, as with bbftpd.";

    vault listen: List(check::listen), Example ["0.0.0.0:4444", "[::]:4444"],
        "Where to listen for clients of the vault, alone or next to protocols in multi-user mode \
         (left out: nowhere).";
    vault tls_listen: List(check::listen), Example ["0.0.0.0:4445", "[::]:4445"],
        "The same for the vault's own dialect inside TLS 1.3, which tf vault speaks.";
    vault data: Path, Example "/var/lib/tfd/vault",
        "The directory of its key, accounts and entries, made at the first start, and the system \
         user that keeps them and nothing else.";
    vault user: Text(255), Example "tfd-vault", "";
    vault dialects: List(vault::check_dialect), Default ["G2", "G3"],
        "What clients may speak. \"G1\", of 2018, protects nothing from being changed on its way.";
    vault registration: Choice(&["open", "closed"]), Default "closed",
        "Whether clients may make accounts (\"open\"). One becomes active by a code, which is mailed \
         if smtp is set, and which tfd vault codes prints.";
    vault new_device: Choice(&["mail", "operator", "allow"]), Default "operator",
        "Whether a device that is new to an account needs a code that is mailed (\"mail\"), one \
         that tfd vault codes prints (\"operator\"), or the password alone (\"allow\").";
    vault smtp: Checked(vault::check_smtp), Example "smtps://user@mail.example.org",
        "The server that mails with codes go to (left out: none are sent): smtps:// speaks TLS, \
         smtp:// with STARTTLS, or without if it is on this machine.";
    vault smtp_password_file: Path, Example "/etc/tfd/smtp-password",
        "The file with the password for it, which root alone reads; the authorities that its \
         certificate may be from (left out: those of the system); and the sender of mails.";
    vault smtp_ca: Path, Example "/etc/tfd/smtp-ca.pem", "";
    vault mail_from: Checked(vault::check_sender), Example "Vault <vault@example.org>", "";
    vault max_packet: Int(65536, 1 << 26), Default 2097152,
        "The longest packet, in bytes.";
    vault exchange_timeout: Int(1, 3600), Default 60,
        "How long a step of the exchange of keys may take in the existing dialects, in seconds, and \
         how many devices that no account has an address may name there.";
    vault cookies_per_address: Int(1, 1_000_000), Default 1000, "";
    vault max_account: Checked(check::size), Default "64M",
        "The most bytes that the entries of an account may have, with their old versions.";
    vault keep_versions: Int(0, 1000), Default 10,
        "How many old versions of an entry are kept in the own dialect, however old they are, and \
         for how many days all of them and deletions.";
    vault keep_days: Int(1, 36500), Default 180, "";

    hub tls_listen: List(check::listen), Example ["0.0.0.0:7170", "[::]:7170"],
        "Where to listen for owners and keepers of backups, alone or next to protocols in \
         multi-user mode (left out: nowhere).";
    hub listen: List(check::listen), Example ["127.0.0.1:7170"],
        "Where to listen without TLS for peers of version 1.0, for tests on this machine (left \
         out: nowhere). An address that other machines reach needs accept_base = true.";
    hub accept_base: Flag, Default false, "";
    hub name: Checked(hub::check_name), Example "hub.example.org",
        "The hub's name for good: signatures have it. It is never looked up.";
    hub data: Path, Example "/var/lib/tfd/hub",
        "The directory of its database, made at the first start, and the system user that keeps \
         it and nothing else.";
    hub user: Text(255), Example "tfd-hub", "";
    hub free: Checked(check::size), Default "1G",
        "How much each user may have stored without keeping anything for others, and how many \
         hundredths of its share beyond that.";
    hub ratio: Int(0, 1000), Default 100, "";
    hub window: Int(1, 64), Default 8, "How many files of a run may be on their way at once.";
    hub keeper_timeout: Seconds(1.0), Default 5,
        "How long a keeper may take to say whether it takes or sends a file, in seconds, before \
         another is asked.";
    hub warn_after: Seconds(1.0), Default 259200,
        "After how many seconds the owners are warned whose files a keeper has that is away.";
    hub gone_after: Seconds(1.0), Default 604800,
        "After how many seconds a keeper that is away is gone: other keepers get its files.";
    hub heal_rate: Checked(check::size), Default "20M",
        "How many bytes a second keepers send each other, so that all copies are there.";
    hub audit_cycle: Seconds(1.0), Default 86400,
        "In how many seconds each keeper is audited 8 times, and once more for each 1,000 files.";
    hub probe_cycle: Seconds(0.0), Default 86400,
        "How often the hub connects to each keeper, in seconds, to see whether others reach it \
         (0: never).";
    hub relay_listen: List(check::listen), Example ["0.0.0.0:7172", "[::]:7172"],
        "Where peers meet that don't reach each other; the hub passes on what they say, sealed, at \
         so many bytes a second for each user and on so many lines (left out: nowhere).";
    hub relay_rate: Checked(check::size), Default "2M", "";
    hub relay_lines: Int(1, 100_000), Default 256, "";
    hub rebuild: Flag, Default false,
        "Whether keepers name all that they have, for a hub that has lost its database. While it \
         is true nothing is healed.";

    holder listen: List(check::listen), Example ["0.0.0.0:7171", "[::]:7171"],
        "Where to listen for those who send files to keep and fetch them, always over TLS, alone \
         or next to protocols in multi-user mode (left out: nowhere).";
    holder key: Path, Example "/etc/tfd/holder.key",
        "The key file that tf hub holder-key has written, with mode 0600; and where the hub is, if \
         not where that says.";
    holder hub: Checked(holder::check_hub), Example "hub.example.org:7170", "";
    holder store: Path, Example "/srv/tfd-kept",
        "The directory of what is kept, made at the first start, and the system user that has it \
         and nothing else (left out where no root starts tfd).";
    holder user: Text(255), Example "tfd-holder", "";
    holder share: Checked(holder::check_share), Default "100G",
        "How much is kept for others at most, and how much of the disk stays free.";
    holder keep_free: Checked(check::size), Default "1G", "";
    holder site: Checked(hub::check_name), Example "attic",
        "A label of the place: copies avoid to be twice in one.";
    holder public_port: Int(1, 65535), Example 7171,
        "The port that the hub names to owners (left out: the first one that is listened on).";
    holder trash_days: Int(7, 36500), Default 30,
        "How many days files stay in the trash that the hub deletes without a proof of their owner.";
};

/// The sections of protocols that only tests serve.
#[cfg(feature = "testing")]
#[rustfmt::skip]
const TESTED: &[Key] = keys! {
    echo listen: List(check::listen), Example ["127.0.0.1:0"], "";
    echo data_ports: Checked(check::port_range), Example "20000-20100", "";
};
#[cfg(not(feature = "testing"))]
const TESTED: &[Key] = &[];

impl Key {
    /// All rows.
    pub(super) fn all() -> impl Iterator<Item = &'static Key> {
        KEYS.iter().chain(TESTED)
    }

    /// Its row, by section and name.
    pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
        Key::all().find(|key| key.section == section && key.name == name)
    }
}

impl Kind {
    /// What a value must be, without the one it is, which may be a secret.
    pub(super) fn wanted(&self) -> String {
        match self {
            Kind::Flag => "use true or false".to_owned(),
            Kind::Int(least, largest) => format!("use a number from {least} to {largest}"),
            Kind::Seconds(0.0) => "use seconds, 0 or more".to_owned(),
            Kind::Seconds(least) if *least < 1e-6 => "use seconds above 0".to_owned(),
            Kind::Seconds(least) => format!("use seconds, {least} or more"),
            Kind::Choice(words) => format!("use \"{}\"", words.join("\" or \"")),
            Kind::Text(longest) => format!("use 1 to {longest} bytes of text without NUL"),
            Kind::Checked(_) => "use a text in quotes".to_owned(),
            Kind::Path => "use a path in quotes".to_owned(),
            Kind::List(_) => "use a list of texts, [\"...\", \"...\"]".to_owned(),
            Kind::Numbers(least, largest) => {
                format!("use a list of integers from {least} to {largest}")
            }
        }
    }
}
