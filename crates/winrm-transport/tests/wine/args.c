/* Prints what two parsers make of this program's command line, as one line of JSON:
 * {"argv":[CommandLineToArgvW],"crt":[the C runtime]}. Appended to the file named by the
 * environment variable ARGS_OUT, so that nothing of a console is involved.
 *
 * x86_64-w64-mingw32-gcc -municode -O1 -o args.exe args.c -lshell32
 */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>
#include <shellapi.h>

/* MinGW would expand "*.c" as a Unix shell does; programs built by Microsoft's compiler do not. */
int _dowildcard = 0;

/* All but printable ASCII is escaped, so that UTF-16 survives as it is. */
static void print_string(FILE *out, const wchar_t *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == L'"' || *text == L'\\' || *text < 0x20 || *text > 0x7e)
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc((int)*text, out);
    }
    fputc('"', out);
}

static void print_list(FILE *out, int count, wchar_t **list)
{
    fputc('[', out);
    for (int at = 0; at < count; at++) {
        if (at)
            fputc(',', out);
        print_string(out, list[at]);
    }
    fputc(']', out);
}

int wmain(int crt_count, wchar_t **crt)
{
    wchar_t path[1024];
    int count = 0;
    wchar_t **argv = CommandLineToArgvW(GetCommandLineW(), &count);
    DWORD length = GetEnvironmentVariableW(L"ARGS_OUT", path, 1024);
    FILE *out;

    if (!argv || !length || length >= 1024)
        return 3;
    out = _wfopen(path, L"ab");
    if (!out)
        return 4;
    fputs("{\"argv\":", out);
    print_list(out, count, argv);
    fputs(",\"crt\":", out);
    print_list(out, crt_count, crt);
    fputs("}\n", out);
    return fclose(out) ? 5 : 0;
}
