/* Gives command lines to CreateProcessW exactly as they are, one after the other.
 *
 *   launch.exe LINES
 *
 * LINES holds, for each command line, a 32-bit count of UTF-16 units and then the units,
 * little-endian: a line may hold a line break. Ends with 0 when every program ended with 0.
 *
 * x86_64-w64-mingw32-gcc -municode -O1 -o launch.exe launch.c
 */
#include <stdint.h>
#include <stdio.h>
#include <wchar.h>
#include <windows.h>

#define LONGEST 32767

static wchar_t line[LONGEST + 1];

/* 0 when the program ran and ended with 0. */
static int run(void)
{
    STARTUPINFOW startup = { .cb = sizeof startup };
    PROCESS_INFORMATION process;
    DWORD code = 1;

    if (!CreateProcessW(NULL, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &process))
        return 1;
    if (WaitForSingleObject(process.hProcess, 20000) != WAIT_OBJECT_0)
        TerminateProcess(process.hProcess, 1);
    else
        GetExitCodeProcess(process.hProcess, &code);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return code != 0;
}

int wmain(int argc, wchar_t **argv)
{
    uint32_t units;
    FILE *lines;
    int at = 0;

    if (argc != 2 || !(lines = _wfopen(argv[1], L"rb"))) {
        fputs("usage: launch.exe LINES\n", stderr);
        return 2;
    }
    while (fread(&units, sizeof units, 1, lines) == 1) {
        at++;
        if (units > LONGEST || fread(line, 2, units, lines) != units) {
            fprintf(stderr, "line %d is too long or cut short\n", at);
            return 2;
        }
        line[units] = 0;
        if (run()) {
            fprintf(stderr, "line %d did not run (error %lu)\n", at, GetLastError());
            return 1;
        }
    }
    fclose(lines);
    return 0;
}
