/** An open file must not outlive the failure of whoever opened it. */
import type { DiskFile } from "../../runtime/port.ts";

/** What `work` answers. When it fails, the file is closed; why it failed is what is told. */
export async function orClose<T>(file: DiskFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // That closing fails, too, says nothing more: nothing of this file is relied on.
    await file.close().catch(() => {});
    throw error;
  }
}
