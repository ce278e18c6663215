################################################################################
#
# luge
#
################################################################################

# The sources are those that this tree is a part of.
LUGE_VERSION = local
LUGE_SITE = $(BR2_EXTERNAL_LUGE_PATH)/..
LUGE_SITE_METHOD = local
LUGE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target
LUGE_LICENSE = Apache-2.0 or BSD-3-Clause
LUGE_LICENSE_FILES = LICENSE
LUGE_CARGO_BUILD_OPTS = --package luge --bin luge

# Local sources are not downloaded, so that no libraries are put beside them.
define LUGE_FETCH_LIBRARIES
	cd $(@D) && $(TARGET_MAKE_ENV) $(PKG_CARGO_ENV) cargo fetch --locked
endef
LUGE_PRE_BUILD_HOOKS += LUGE_FETCH_LIBRARIES

# The program of the root folder is the first process, as in `cargo image`.
define LUGE_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/target/$(RUSTC_TARGET_NAME)/release/luge $(TARGET_DIR)/init
	mkdir -p $(addprefix $(TARGET_DIR)/,bin proc sys dev run tmp etc hugepages var)
	ln -sf /init $(TARGET_DIR)/bin/luge
endef

# Every option that the fragments do not name is off. That also takes the
# initramfs away, which Buildroot has set before.
LUGE_KERNEL_FRAGMENTS = $(addprefix $(BR2_EXTERNAL_LUGE_PATH)/kernel/,appliance.fragment buildroot.fragment)
define LUGE_LINUX_CONFIG_FIXUPS
	cat $(LUGE_KERNEL_FRAGMENTS) > $(LINUX_DIR)/.luge-options
	$(LINUX_KCONFIG_MAKE) KCONFIG_ALLCONFIG=$(LINUX_DIR)/.luge-options allnoconfig
	$(LINUX_KCONFIG_FIXUP_CMDS_ROOTFS_CPIO)
endef

$(eval $(cargo-package))
