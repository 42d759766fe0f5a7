//! The shipped files on a real nginx with the Lua module, changed only where they name addresses and folders.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use host_sim::addresses;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::until;
use crate::{DEPLOY, skip};

const MODULES: [&str; 2] = [
    "/usr/lib/nginx/modules/ndk_http_module.so",
    "/usr/lib/nginx/modules/ngx_http_lua_module.so",
];

/// A running nginx; killed when dropped.
pub(crate) struct Nginx {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

/// Whether there is an nginx here that can be asked; says so when not.
pub(crate) fn is_here() -> bool {
    let here =
        Path::new("/usr/sbin/nginx").exists() && MODULES.iter().all(|module| Path::new(module).exists());
    if !here {
        skip("no nginx with the Lua module (nginx, libnginx-mod-http-lua)");
    }
    here
}

impl Nginx {
    /// Starts it in front of `upstream` with these variables.
    pub(crate) async fn start(upstream: SocketAddr, variables: &[(&str, &str)]) -> Self {
        Self::start_changed(upstream, variables, &[]).await
    }

    /// The same with further changes to the files.
    pub(crate) async fn start_changed(
        upstream: SocketAddr,
        variables: &[(&str, &str)],
        changes: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((addresses::block(1)[0], 8080));
        lay_out(folder.path(), address, upstream, changes);
        let child = command(folder.path(), "daemon off; master_process off;")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut nginx = Self {
            child,
            folder,
            address,
        };
        until("nginx listens", || {
            let ended = nginx.child.try_wait().unwrap();
            let said = nginx.said();
            async move {
                assert!(ended.is_none(), "ended: {said}");
                tokio::net::TcpStream::connect(address).await.ok()
            }
        })
        .await;
        nginx
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its logs.
    pub(crate) fn said(&self) -> String {
        ["stderr", "error.log", "access.log"]
            .iter()
            .filter_map(|file| std::fs::read_to_string(self.folder.path().join(file)).ok())
            .collect()
    }
}

/// Lets nginx judge the files without running them.
pub(crate) async fn judged() -> Output {
    let folder = tempfile::tempdir().unwrap();
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
    lay_out(
        folder.path(),
        (addresses::block(1)[0], 8080).into(),
        upstream,
        &[],
    );
    command(folder.path(), "").arg("-t").output().await.unwrap()
}

fn command(folder: &Path, more: &str) -> Command {
    let modules: String = MODULES
        .iter()
        .map(|module| format!("load_module {module}; "))
        .collect();
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .env_clear()
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("openresty/nginx.conf"))
        .arg("-g")
        .arg(modules + more);
    command
}

fn lay_out(folder: &Path, address: SocketAddr, upstream: SocketAddr, changes: &[(&str, &str)]) {
    let path = |name: &str| folder.join(name).display().to_string();
    let ours = [
        ("/etc/lab-ops/openresty", path("openresty")),
        ("/tmp/lab-ops-nginx", path("run")),
        ("listen 8080;", format!("listen {address};")),
        ("server 127.0.0.1:8081;", format!("server {upstream};")),
        ("/usr/share/lab-manager/", path("page/")),
        ("/dev/stderr", path("error.log")),
        ("/dev/stdout", path("access.log")),
    ];
    let ours = ours.iter().map(|(from, to)| (*from, to.as_str()));
    let changes: Vec<(&str, &str)> = ours.chain(changes.iter().copied()).collect();
    let mut used = vec![false; changes.len()];
    for from in files(Path::new(DEPLOY).join("openresty")) {
        let relative = from.strip_prefix(DEPLOY).unwrap();
        let to = folder.join(relative);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut text = std::fs::read_to_string(&from).unwrap();
        for (at, (from, to)) in changes.iter().enumerate() {
            used[at] |= text.contains(from);
            text = text.replace(from, to);
        }
        std::fs::write(to, text).unwrap();
    }
    for (used, (from, _)) in used.iter().zip(&changes) {
        assert!(used, "{from:?} stands in no file");
    }
    for name in ["run", "page/deep"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("page/index.html"), "the page").unwrap();
    std::fs::write(folder.join("page/app.js"), "the script").unwrap();
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path));
        } else {
            found.push(path);
        }
    }
    found
}
