//! Two network namespaces and a link between them that can be cut: two
//! machines, as far as the network goes. Both go with the value.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use super::is_root;

/// The addresses of the two ends.
pub const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// What each machine calls its link.
pub const DEVICE: &str = "tfd";

/// Two namespaces with a link between them.
pub struct Link {
    /// Who carries the packets of a link that loses some.
    carrier: Option<Carrier>,
    near: Namespace,
    far: Namespace,
}

impl Link {
    /// A link that is up, or none where that is not possible, which is told.
    pub fn make() -> Option<Link> {
        Link::made(Link::join)
    }

    /// One on which each packet takes so many seconds, and this share of them is lost.
    pub fn lossy(delay: f64, share: f64) -> Option<Link> {
        Link::made(|link| link.carry(delay, share))
    }

    fn made(join: impl FnOnce(&mut Link) -> Result<(), String>) -> Option<Link> {
        if !is_root() {
            println!("left out: network namespaces need root");
            return None;
        }
        Link::try_make(join)
            .inspect_err(|e| println!("left out: no network namespaces can be made here: {e}"))
            .ok()
    }

    fn try_make(join: impl FnOnce(&mut Link) -> Result<(), String>) -> Result<Link, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("tfd-test-{}-{number}-{end}", std::process::id());
        let mut link = Link {
            carrier: None,
            near: Namespace::make(name("near"))?,
            far: Namespace::make(name("far"))?,
        };
        join(&mut link)?;
        let (near, far) = (&link.near.0, &link.far.0);
        for (namespace, address) in [(near, NEAR), (far, FAR)] {
            ip(&format!(
                "-n {namespace} address add {address}/24 dev {DEVICE}"
            ))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set {DEVICE} up"))?;
        }
        Ok(link)
    }

    fn join(&mut self) -> Result<(), String> {
        let (near, far) = (&self.near.0, &self.far.0);
        ip(&format!(
            "link add {DEVICE} netns {near} type veth peer name {DEVICE} netns {far}"
        ))
    }

    fn carry(&mut self, delay: f64, share: f64) -> Result<(), String> {
        let numbers = [delay, share].map(|it| it.to_string());
        let mut command = Command::new("python3");
        command
            .args(["tests/common/lossy_link.py", &self.near.0, &self.far.0])
            .arg(DEVICE)
            .args(numbers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("python3: {e}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        self.carrier = Some(Carrier(child));
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        match read {
            Ok(1..) => Ok(()),
            _ => Err("no link by /dev/net/tun".to_owned()),
        }
    }

    /// Does something at the near end. Sockets made and processes started
    /// there stay there.
    pub fn near<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.near.run(work)
    }

    /// Does something at the far end.
    pub fn far<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.far.run(work)
    }

    /// Makes the link as bad as netem is told to, both ways.
    ///
    /// # Errors
    /// Why not; not every kernel has netem.
    pub fn worsen(&self, how: &str) -> Result<(), String> {
        [&self.near, &self.far].into_iter().try_for_each(|end| {
            command(
                "tc",
                &format!("-n {} qdisc add dev {DEVICE} root netem {how}", end.0),
            )
        })
    }

    /// Ends all connections of the far end there, as a machine does that is
    /// switched off: while the link is down the other end hears nothing of it.
    pub fn forget_connections(&self) {
        command("ss", &format!("-N {} -K state established", self.far.0)).expect("ss");
    }

    /// Takes the link down, at the far end.
    pub fn cut(&self) {
        ip(&format!("-n {} link set {DEVICE} down", self.far.0)).expect("cut");
    }

    /// Brings it up again.
    pub fn mend(&self) {
        ip(&format!("-n {} link set {DEVICE} up", self.far.0)).expect("mend");
    }
}

/// Two homes and the network between them. Each home is behind a router, which has one
/// address in the network and lets nobody in.
pub struct Homes {
    pub net: Namespace,
    pub home: Namespace,
    pub den: Namespace,
    _routers: [Namespace; 2],
}

impl Homes {
    /// The network's own address as each home sees it.
    pub const HUB_OF_HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    pub const HUB_OF_DEN: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

    /// The second home, and its router.
    pub const DEN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 2, 2));
    pub const DEN_ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));

    /// Both, or none where that is not possible, which is told.
    pub fn make() -> Option<Homes> {
        if !is_root() {
            println!("left out: network namespaces need root");
            return None;
        }
        Homes::try_make()
            .inspect_err(|e| println!("left out: no routers can be made here: {e}"))
            .ok()
    }

    fn try_make() -> Result<Homes, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let made = |end| {
            let name = format!("tfd-test-{}-{number}-{end}", std::process::id());
            Namespace::make(name)
        };
        let (net, home, den) = (made("net")?, made("home")?, made("den")?);
        let routers = [made("router-home")?, made("router-den")?];
        let outside = ["198.51.100", "203.0.113"];
        let inside = ["192.168.1", "192.168.2"];
        for (side, (of, router)) in [&home, &den].into_iter().zip(&routers).enumerate() {
            let (inner, router) = (&of.0, &router.0);
            let (out, own) = (outside[side], inside[side]);
            ip(&format!(
                "link add side{side} netns {} type veth peer name out netns {router}",
                net.0
            ))?;
            ip(&format!(
                "link add in netns {router} type veth peer name {DEVICE} netns {inner}"
            ))?;
            for (namespace, device, address) in [
                (&net.0, format!("side{side}"), format!("{out}.1")),
                (router, "out".to_owned(), format!("{out}.2")),
                (router, "in".to_owned(), format!("{own}.1")),
                (inner, DEVICE.to_owned(), format!("{own}.2")),
            ] {
                ip(&format!(
                    "-n {namespace} address add {address}/24 dev {device}"
                ))?;
                ip(&format!("-n {namespace} link set {device} up"))?;
                ip(&format!("-n {namespace} link set lo up"))?;
            }
            ip(&format!("-n {router} route add default via {out}.1"))?;
            ip(&format!("-n {inner} route add default via {own}.1"))?;
            routers[side].set("ip_forward", "1")?;
            command("ip", &format!("netns exec {router} nft add table ip home"))?;
            for rule in [
                "add chain ip home out { type nat hook postrouting priority 100; }",
                "add rule ip home out oifname out masquerade",
                "add chain ip home in { type filter hook forward priority 0; }",
                "add rule ip home in iifname out ct state new drop",
            ] {
                command("ip", &format!("netns exec {router} nft {rule}"))?;
            }
        }
        net.set("ip_forward", "1")?;
        Ok(Homes {
            net,
            home,
            den,
            _routers: routers,
        })
    }
}

/// Machines in one network segment, each a namespace with an address.
pub struct Segment {
    pub machines: Vec<Namespace>,
    _switch: Namespace,
}

impl Segment {
    /// One machine for each address.
    pub fn make(addresses: &[Ipv4Addr]) -> Result<Segment, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let made = |end: String| {
            let name = format!("tfd-test-{}-segment-{number}-{end}", std::process::id());
            Namespace::make(name)
        };
        let switch = made("switch".to_owned())?;
        switch.ip("link add switch type bridge")?;
        switch.ip("link set switch up")?;
        let machines = addresses.iter().enumerate().map(|(at, address)| {
            let machine = made(at.to_string())?;
            ip(&format!(
                "link add port{at} netns {} type veth peer name {DEVICE} netns {}",
                switch.0, machine.0
            ))?;
            switch.ip(&format!("link set port{at} master switch up"))?;
            machine.ip(&format!("address add {address}/24 dev {DEVICE}"))?;
            machine.ip("link set lo up")?;
            machine.ip(&format!("link set {DEVICE} up"))?;
            Ok(machine)
        });
        let machines = machines.collect::<Result<_, String>>()?;
        Ok(Segment {
            machines,
            _switch: switch,
        })
    }
}

/// `lossy_link.py`, which ends with this.
struct Carrier(Child);

impl Drop for Carrier {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A network namespace by its name.
pub struct Namespace(String);

impl Namespace {
    fn make(name: String) -> Result<Namespace, String> {
        ip(&format!("netns add {name}"))?;
        Ok(Namespace(name))
    }

    /// Runs `ip` there.
    ///
    /// # Errors
    /// What it says.
    pub fn ip(&self, words: &str) -> Result<(), String> {
        ip(&format!("-n {} {words}", self.0))
    }

    /// Sets something below `net.ipv4`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let written = self.run(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value));
        written.map_err(|e| format!("{name}: {e}"))
    }

    /// Does something in a thread that has entered the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let namespace = File::open(format!("/run/netns/{}", self.0)).expect("namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("entered");
            work()
        };
        match std::thread::scope(|scope| scope.spawn(enter).join()) {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(e) = ip(&format!("netns delete {}", self.0)) {
            eprintln!("{} remains: {e}", self.0);
        }
    }
}

/// Runs `ip` with these words.
fn ip(words: &str) -> Result<(), String> {
    command("ip", words)
}

fn command(name: &str, words: &str) -> Result<(), String> {
    let done = Command::new(name)
        .args(words.split(' '))
        .output()
        .map_err(|e| format!("{name}: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "{name} {words}: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    ))
}
