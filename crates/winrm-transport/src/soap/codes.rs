//! Fault codes of the WinRM service. Source: MS-WSMV, and what clients of real hosts report.

/// No output within `OperationTimeout`; on Receive this is the normal way of saying "still running".
pub(crate) const OPERATION_TIMEOUT: u32 = 2_150_858_793;
/// Seen together with output timeouts.
const OUTPUT_TIMEOUT: u32 = 2_150_858_817;
/// Win32 `ERROR_TIMEOUT`, from within the plug-in.
const PLUGIN_TIMEOUT: u32 = 1_460;
/// No shell, or no command, with this id.
pub(crate) const SHELL_NOT_FOUND: u32 = 2_150_858_843;
/// Win32 `ERROR_OPERATION_ABORTED`: the service or the host is stopping.
pub(crate) const ABORTED: u32 = 995;

/// Whether the code only says that nothing happened in time.
pub(crate) fn is_operation_timeout(code: u32) -> bool {
    matches!(code, OPERATION_TIMEOUT | OUTPUT_TIMEOUT | PLUGIN_TIMEOUT)
}

/// Win32 `ERROR_ACCESS_DENIED`, bare and as HRESULT.
pub(crate) fn is_access_denied(code: u32) -> bool {
    matches!(code, 5 | 0x8007_0005)
}

/// Shells, operations, users, processes.
pub(crate) fn is_quota(code: u32) -> bool {
    (2_150_859_172..=2_150_859_175).contains(&code)
}
