// Go's runtime takes its random numbers from this function, which Wine 8 lacks.
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	const SIZE_T most = 1 << 20; // RtlGenRandom counts in 32 bits
	for (; size > 0; data += size < most ? size : most, size -= size < most ? size : most)
		if (!RtlGenRandom(data, (ULONG)(size < most ? size : most)))
			return FALSE;
	return TRUE;
}
