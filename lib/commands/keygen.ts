// `keygen`: a key pair to sign with, in the files and the form that Nix has.
import { open, rm } from 'node:fs/promises';
import { CacheError, describe, isErrno } from '../errors.ts';
import { generateKeys } from '../nix/signature.ts';

/**
 * Writes `NAME.secret`, for nobody else to read, and `NAME.public`; prints the line that clients need.
 * @throws CacheError `config` for a name that makes no file, `startup` if a file exists or can't be written
 */
export async function keygen(name: string, out: { write(text: string): unknown }): Promise<void> {
  if (!/^\w[\w.+-]{0,99}$/.test(name)) {
    throw new CacheError(
      'config',
      `found the name ${JSON.stringify(name)}, expected letters, digits and . _ + - as in cache.example.org-1`,
    );
  }
  const { publicKey, secretKey } = generateKeys(name);
  const secretFile = `${name}.secret`;
  await writeNew(secretFile, secretKey, 0o600);
  await writeNew(`${name}.public`, publicKey, 0o644).catch(async (error) => {
    await rm(secretFile, { force: true });
    throw error;
  });
  out.write(
    `# The cache signs with this, in its cache.toml:\n#   [signing]\n#   key_file = "${secretFile}"\n`,
  );
  out.write(
    `# and clients believe it with this, in their nix.conf:\nextra-trusted-public-keys = ${publicKey}\n`,
  );
}

async function writeNew(file: string, text: string, mode: number): Promise<void> {
  try {
    const handle = await open(file, 'wx', mode);
    try {
      // A key that clients were told of must survive a power loss.
      await handle.writeFile(text);
      await handle.sync();
    } catch (error) {
      // Half a key file would block the next attempt.
      await rm(file, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
  } catch (error) {
    const why = isErrno(error, 'EEXIST') ? 'it exists, and a key is never written over' : describe(error);
    throw new CacheError('startup', `can't write ${file}: ${why}`, error);
  }
}
