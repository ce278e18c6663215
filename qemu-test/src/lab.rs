//! What every test in a machine needs: QEMU, a guest, luge, the image, and a bench to work at.

use crate::accelerator::Accelerator;
use crate::error::{Doing, TestError};
use luge_image::{Artifacts, Cache, GuestKit, ImageBuilder, Progress, QemuRoot, build_luge};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use tempfile::TempDir;

/// Where everything comes from. Things are made when they are first asked for, and kept.
pub struct Lab {
    cache: Cache,
    progress: Progress,
    folder: PathBuf,
    qemu: QemuRoot,
    accelerator: Made<Accelerator>,
    guest: Made<GuestKit>,
    luge: Made<PathBuf>,
    image: Made<Artifacts>,
}

/// Something that is made when it is first asked for, once.
struct Made<T>(Mutex<Option<T>>);

impl<T: Clone> Made<T> {
    const fn not_yet() -> Self {
        Self(Mutex::new(None))
    }

    fn get<E: Into<TestError>>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<T, TestError> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            return Ok(made.clone());
        }
        Ok(made.insert(make().map_err(Into::into)?).clone())
    }
}

impl Lab {
    /// Opens the lab, which prepares QEMU.
    ///
    /// # Errors
    /// QEMU cannot be had.
    pub fn open(progress: Progress) -> Result<Self, TestError> {
        let cache = Cache::open()?;
        let qemu = QemuRoot::prepare(&cache, &progress)?;
        let folder = target_folder().join("machines");
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        let (accelerator, guest, luge, image) =
            (Made::not_yet(), Made::not_yet(), Made::not_yet(), Made::not_yet());
        Ok(Self { cache, progress, folder, qemu, accelerator, guest, luge, image })
    }

    /// The lab that all tests of one program share.
    ///
    /// # Panics
    /// It cannot be opened: no test can go on.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Lab> = OnceLock::new();
        SHARED.get_or_init(|| match Self::open(Progress::to_stderr()) {
            Ok(lab) => lab,
            Err(error) => panic!("{error}"),
        })
    }

    /// QEMU and its companions.
    #[must_use]
    pub fn qemu(&self) -> &QemuRoot {
        &self.qemu
    }

    /// A small Linux guest.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn guest(&self) -> Result<GuestKit, TestError> {
        self.guest.get(|| GuestKit::prepare(&self.cache, &self.progress))
    }

    /// The static program `luge`.
    ///
    /// # Errors
    /// It does not build.
    pub fn luge(&self) -> Result<PathBuf, TestError> {
        self.luge.get(|| build_luge(&self.cache, &self.progress))
    }

    /// The appliance, with the VM pack.
    ///
    /// # Errors
    /// It does not build.
    pub fn image(&self) -> Result<Artifacts, TestError> {
        let image = ImageBuilder { vm_pack: true, config: None };
        self.image.get(|| image.build(&self.cache, &self.progress))
    }

    /// The accelerator that works here.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn accelerator(&self) -> Result<Accelerator, TestError> {
        self.accelerator.get(|| Accelerator::that_works(self))
    }

    /// A bench for one test; its logs stay in the folder `name` of [`Lab::folder`].
    ///
    /// # Errors
    /// Its folders cannot be made.
    pub fn bench(&self, name: &str) -> Result<Bench<'_>, TestError> {
        let logs = self.folder.join(name);
        // Of an earlier run.
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs).doing(|| format!("making {}", logs.display()))?;
        let scratch = TempDir::with_prefix("luge-").doing(|| "making a temporary folder".to_owned())?;
        Ok(Bench { lab: self, scratch, logs, logged: Mutex::default() })
    }

    /// Waits until no other test uses the processors of this host; the turn ends with the file.
    ///
    /// # Errors
    /// The lock cannot be had.
    pub fn turn(&self) -> Result<File, TestError> {
        self.lock("turn")
    }

    /// Waits for and takes a lock that all programs on this host share; it ends with the file.
    pub(crate) fn lock(&self, name: &str) -> Result<File, TestError> {
        let path = self.folder.join(name);
        let file = File::create(&path).doing(|| format!("making {}", path.display()))?;
        file.lock().doing(|| format!("locking {}", path.display()))?;
        Ok(file)
    }

    /// Where logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A place for one test: a temporary folder, and a folder of logs that stays.
pub struct Bench<'a> {
    lab: &'a Lab,
    scratch: TempDir,
    logs: PathBuf,
    /// How many logs of each name there are.
    logged: Mutex<BTreeMap<String, u32>>,
}

impl Bench<'_> {
    /// The lab it stands in.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        self.lab
    }

    /// A file of the temporary folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The next log file of that name: `luge.log`, `luge-2.log`, ...
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let count = logged.entry(name.to_owned()).or_default();
        *count += 1;
        match *count {
            1 => self.logs.join(format!("{name}.log")),
            count => self.logs.join(format!("{name}-{count}.log")),
        }
    }
}

/// Where the workspace's builds go.
fn target_folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().unwrap_or(package);
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}
