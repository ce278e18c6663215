//! Resources of tests in machines: QEMU, a guest, luge, the image, and folders for each test.

use crate::accelerator::Accelerator;
use crate::error::{Doing, TestError};
use luge_image::{Artifacts, Cache, GuestKit, ImageBuilder, Progress, PyPiPackage, QemuRoot, build_luge};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use tempfile::TempDir;

/// Command line of all kernels, ours and guests'. Linux's timer check sometimes fails behind an
/// emulated IOMMU on a busy host. `panic=-1` makes a panic end QEMU at once.
pub(crate) const KERNEL_ARGUMENTS: &str = "console=ttyS0 no_timer_check panic=-1";

/// Resources that tests share. Each is made when it is first used, and kept.
pub struct Lab {
    cache: Cache,
    progress: Progress,
    folder: PathBuf,
    qemu: QemuRoot,
    accelerator: Made<Accelerator>,
    guest: Made<GuestKit>,
    luge: Made<PathBuf>,
    image: Made<Artifacts>,
    small_image: Made<Artifacts>,
}

/// A value that is made once, when it is first used.
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
    /// If QEMU cannot be prepared.
    pub fn open(progress: Progress) -> Result<Self, TestError> {
        let cache = Cache::open()?;
        let qemu = QemuRoot::prepare(&cache, &progress)?;
        let folder = target_folder().join("machines");
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        Ok(Self {
            cache,
            progress,
            folder,
            qemu,
            accelerator: Made::not_yet(),
            guest: Made::not_yet(),
            luge: Made::not_yet(),
            image: Made::not_yet(),
            small_image: Made::not_yet(),
        })
    }

    /// Returns the lab that all tests of one program share.
    ///
    /// # Panics
    /// If the lab cannot be opened: no test can run without it.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Lab> = OnceLock::new();
        SHARED.get_or_init(|| match Self::open(Progress::to_stderr()) {
            Ok(lab) => lab,
            Err(error) => panic!("{error}"),
        })
    }

    /// Installs the tools of this machine that tests need.
    ///
    /// # Errors
    /// If they are missing and cannot be installed.
    pub fn ensure_tools(&self) -> Result<(), TestError> {
        Ok(luge_image::ensure_test_tools(&self.cache, &self.progress)?)
    }

    /// Package of PyPI, such as [`luge_image::SPDK_CLIENT`]; more of them after blanks.
    ///
    /// # Errors
    /// If it cannot be installed.
    pub fn pypi(&self, package: &str) -> Result<PyPiPackage, TestError> {
        Ok(PyPiPackage::prepare(package, &self.cache, &self.progress)?)
    }

    /// QEMU, its firmware and tools.
    #[must_use]
    pub fn qemu(&self) -> &QemuRoot {
        &self.qemu
    }

    /// Small Linux guest.
    ///
    /// # Errors
    /// If the guest cannot be built.
    pub fn guest(&self) -> Result<GuestKit, TestError> {
        self.guest.get(|| GuestKit::prepare(&self.cache, &self.progress))
    }

    /// Image of a disk from which UEFI boots a guest with these arguments.
    ///
    /// # Errors
    /// If the image cannot be made.
    pub fn guest_disk(&self, guest: &GuestKit, arguments: &str) -> Result<PathBuf, TestError> {
        let command_line = format!("{KERNEL_ARGUMENTS} {arguments}");
        Ok(guest.disk_image(&command_line, &self.cache, &self.progress)?)
    }

    /// Image of a disk from which a BIOS boots a guest with these arguments.
    ///
    /// # Errors
    /// If the image cannot be made.
    pub fn guest_bios_disk(&self, guest: &GuestKit, arguments: &str) -> Result<PathBuf, TestError> {
        let command_line = format!("{KERNEL_ARGUMENTS} {arguments}");
        Ok(guest.bios_disk_image(&command_line, &self.cache, &self.progress)?)
    }

    /// Path of the static program `luge`.
    ///
    /// # Errors
    /// If the program does not build.
    pub fn luge(&self) -> Result<PathBuf, TestError> {
        self.luge.get(|| build_luge(&self.cache, &self.progress))
    }

    /// Image of the appliance, with the VM pack.
    ///
    /// # Errors
    /// If the image does not build.
    pub fn image(&self) -> Result<Artifacts, TestError> {
        let image = ImageBuilder { vm_pack: true, ..ImageBuilder::default() };
        self.image.get(|| image.build(&self.cache, &self.progress))
    }

    /// Image of the appliance as it is flashed, without the VM pack: it boots in half the time.
    ///
    /// # Errors
    /// If the image does not build.
    pub fn small_image(&self) -> Result<Artifacts, TestError> {
        self.small_image.get(|| ImageBuilder::default().build(&self.cache, &self.progress))
    }

    /// Accelerator that works on this host, as determined once by `determine`.
    pub(crate) fn accelerator(
        &self,
        determine: impl FnOnce(&Self) -> Result<Accelerator, TestError>,
    ) -> Result<Accelerator, TestError> {
        self.accelerator.get(|| determine(self))
    }

    /// Makes the folders of a test; its logs stay in the folder `name` of [`Lab::folder`].
    ///
    /// # Errors
    /// If the folders cannot be made.
    pub fn bench(&self, name: &str) -> Result<Bench<'_>, TestError> {
        let logs = self.folder.join(name);
        // Logs of an earlier run.
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs).doing(|| format!("making {}", logs.display()))?;
        let scratch = TempDir::with_prefix("luge-").doing(|| "making a temporary folder".to_owned())?;
        Ok(Bench { lab: self, scratch, logs, logged: Mutex::default() })
    }

    /// Waits until no other test uses the CPUs of this host; dropping the file ends the turn.
    ///
    /// # Errors
    /// If the lock file cannot be locked.
    pub fn turn(&self) -> Result<File, TestError> {
        self.lock("turn")
    }

    /// Waits for and takes a lock that all programs on this host share; dropping the file releases it.
    pub(crate) fn lock(&self, name: &str) -> Result<File, TestError> {
        let path = self.folder.join(name);
        let file = File::create(&path).doing(|| format!("making {}", path.display()))?;
        file.lock().doing(|| format!("locking {}", path.display()))?;
        Ok(file)
    }

    /// Folder of logs and locks.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Folders of one test: a temporary one, and one for logs, which stays.
pub struct Bench<'a> {
    lab: &'a Lab,
    scratch: TempDir,
    logs: PathBuf,
    /// Number of logs of each name.
    logged: Mutex<BTreeMap<String, u32>>,
}

impl Bench<'_> {
    /// Lab of the test.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        self.lab
    }

    /// Path of a file in the temporary folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Path of the next log of that name: `luge.log`, `luge-2.log`, ...
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

/// Folder of the workspace's build results.
fn target_folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().unwrap_or(package);
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}
