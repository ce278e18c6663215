//! Binds an SSD to vfio-pci, prints its properties, and binds it back:
//! `probe 0000:01:00.0 [auto|group|iommufd]`. Without an address: lists the NVMe controllers.

use luge_memory::{DmaMemory, DmaSpace, MemoryAccess, PageSize, PciFunction};
use luge_vfio::{Backend, PciAddress, SysfsRoot, Vfio, bind};
use std::error::Error;
use std::process::ExitCode;

/// Registers of an NVMe controller: Controller Capabilities, Version, Controller Status
/// (NVM Express Base Specification, Controller Properties).
const REGISTERS: [(&str, u32); 4] = [("CAP low", 0x00), ("CAP high", 0x04), ("VS", 0x08), ("CSTS", 0x1c)];

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let root = SysfsRoot::default();
    let mut arguments = std::env::args().skip(1);
    let Some(address) = arguments.next() else { return list(&root) };
    let backend = match arguments.next().as_deref() {
        Some("group") => Backend::Group,
        Some("iommufd") => Backend::Iommufd,
        Some("auto") | None => Backend::Auto,
        Some(other) => return Err(format!("'{other}' is not auto, group or iommufd").into()),
    };
    let binding = bind(&root, address.parse()?)?;
    let outcome = probe(&root, backend, binding.address());
    binding.restore()?;
    outcome
}

fn list(root: &SysfsRoot) -> Result<(), Box<dyn Error>> {
    for address in root.nvme_functions()? {
        println!("{address} driver {}", root.driver(address).as_deref().unwrap_or("none"));
    }
    Ok(())
}

fn probe(root: &SysfsRoot, backend: Backend, address: PciAddress) -> Result<(), Box<dyn Error>> {
    let space = DmaSpace::new();
    let vfio = Vfio::new(root.clone(), backend, space.clone());
    let function = vfio.open_function(address)?;
    println!("{}: group {:?}, node {:?}", function.name(), root.iommu_group(address), function.numa_node());
    show_registers(&*function);
    let doorbells = function.registers(0x1000, 8)?;
    println!("doorbells mapped: {} bytes", doorbells.len());
    let memory = DmaMemory::allocate(&space, 4096, PageSize::Base, None)?;
    println!("memory mapped for it: {} bytes", memory.len());
    let count = function.vectors().min(4);
    println!("interrupts: {} of {} routed", function.enable_interrupts(count)?.len(), function.vectors());
    function.set_bus_master(MemoryAccess::Allowed)?;
    function.reset()?;
    println!("reset");
    show_registers(&*function);
    Ok(())
}

fn show_registers(function: &dyn PciFunction) {
    for (name, offset) in REGISTERS {
        println!("{name:>8} {:#010x}", function.read32(offset));
    }
}
