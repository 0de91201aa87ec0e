//! Keeps Mesa's Vulkan layer from writing to stderr on a machine without a display.

/// Switches off Mesa's layer that orders Vulkan devices, where there is no display.
///
/// The layer asks the Wayland server which device it draws on, and without a server its library
/// writes `error: XDG_RUNTIME_DIR is invalid or not set in the environment` for each device that
/// is looked at. An environment variable switches the layer off. To set one in a running process is
/// unsafe, so the process replaces itself, once. If that fails the command goes on as it is.
#[cfg(target_os = "linux")]
pub fn silence_device_selection() {
    use std::env;
    use std::os::unix::process::CommandExt;

    const SWITCH: &str = "NODEVICE_SELECT";
    if ["DISPLAY", "WAYLAND_DISPLAY", SWITCH]
        .iter()
        .any(|name| env::var_os(name).is_some())
    {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut arguments = env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only when it has failed.
    let _ = command.args(arguments).env(SWITCH, "1").exec();
}

/// Other systems have no such layer.
#[cfg(not(target_os = "linux"))]
pub fn silence_device_selection() {}
