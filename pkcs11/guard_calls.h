/* The calls of PKCS#11 2.40 that are forwarded as they are: CALL(name, parameters,
 * arguments), in the order of the function list. Expanded wherever each call needs a
 * function of its own; C_Initialize, C_Finalize, C_GetFunctionList, C_OpenSession,
 * C_CloseSession, C_CloseAllSessions and C_WaitForSlotEvent are written by hand there.
 *
 * No include guard: the file is expanded several times. */

CALL(C_GetInfo, (CK_INFO * info), (info))
CALL(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count),
     (present, slots, count))
CALL(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info))
CALL(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))
CALL(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count),
     (slot, types, count))
CALL(C_GetMechanismInfo,
     (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info),
     (slot, type, info))
CALL(C_InitToken, (CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG size, CK_BYTE *label),
     (slot, pin, size, label))
CALL(C_InitPIN, (CK_SESSION_HANDLE session, CK_BYTE *pin, CK_ULONG size),
     (session, pin, size))
CALL(C_SetPIN,
     (CK_SESSION_HANDLE session, CK_BYTE *old, CK_ULONG old_size, CK_BYTE *new,
      CK_ULONG new_size),
     (session, old, old_size, new, new_size))
CALL(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info),
     (session, info))
CALL(C_GetOperationState, (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG *size),
     (session, state, size))
CALL(C_SetOperationState,
     (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG size, CK_OBJECT_HANDLE cipher,
      CK_OBJECT_HANDLE key),
     (session, state, size, cipher, key))
CALL(C_Login,
     (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG size),
     (session, user, pin, size))
CALL(C_Logout, (CK_SESSION_HANDLE session), (session))
CALL(C_CreateObject,
     (CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count,
      CK_OBJECT_HANDLE *object),
     (session, attributes, count, object))
CALL(C_CopyObject,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE from, CK_ATTRIBUTE *attributes,
      CK_ULONG count, CK_OBJECT_HANDLE *object),
     (session, from, attributes, count, object))
CALL(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object),
     (session, object))
CALL(C_GetObjectSize,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size),
     (session, object, size))
CALL(C_GetAttributeValue,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
      CK_ULONG count),
     (session, object, attributes, count))
CALL(C_SetAttributeValue,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *attributes,
      CK_ULONG count),
     (session, object, attributes, count))
CALL(C_FindObjectsInit,
     (CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count),
     (session, attributes, count))
CALL(C_FindObjects,
     (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG room,
      CK_ULONG *count),
     (session, objects, room, count))
CALL(C_FindObjectsFinal, (CK_SESSION_HANDLE session), (session))
CALL(C_EncryptInit,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
CALL(C_Encrypt,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_EncryptUpdate,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_EncryptFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_size),
     (session, out, out_size))
CALL(C_DecryptInit,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
CALL(C_Decrypt,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_DecryptUpdate,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_DecryptFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_size),
     (session, out, out_size))
CALL(C_DigestInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism),
     (session, mechanism))
CALL(C_Digest,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_DigestUpdate, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size),
     (session, in, in_size))
CALL(C_DigestKey, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key), (session, key))
CALL(C_DigestFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_size),
     (session, out, out_size))
CALL(C_SignInit,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
CALL(C_Sign,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_SignUpdate, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size),
     (session, in, in_size))
CALL(C_SignFinal, (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_size),
     (session, out, out_size))
CALL(C_SignRecoverInit,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
CALL(C_SignRecover,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_VerifyInit,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
CALL(C_Verify,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *signature,
      CK_ULONG size),
     (session, in, in_size, signature, size))
CALL(C_VerifyUpdate, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size),
     (session, in, in_size))
CALL(C_VerifyFinal, (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG size),
     (session, signature, size))
CALL(C_VerifyRecoverInit,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
     (session, mechanism, key))
CALL(C_VerifyRecover,
     (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, signature, size, out, out_size))
CALL(C_DigestEncryptUpdate,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_DecryptDigestUpdate,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_SignEncryptUpdate,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_DecryptVerifyUpdate,
     (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_size, CK_BYTE *out,
      CK_ULONG *out_size),
     (session, in, in_size, out, out_size))
CALL(C_GenerateKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attributes,
      CK_ULONG count, CK_OBJECT_HANDLE *key),
     (session, mechanism, attributes, count, key))
CALL(C_GenerateKeyPair,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *publics,
      CK_ULONG public_count, CK_ATTRIBUTE *privates, CK_ULONG private_count,
      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key),
     (session, mechanism, publics, public_count, privates, private_count, public_key,
      private_key))
CALL(C_WrapKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
      CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_size),
     (session, mechanism, wrapping, key, out, out_size))
CALL(C_UnwrapKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
      CK_BYTE *in, CK_ULONG in_size, CK_ATTRIBUTE *attributes, CK_ULONG count,
      CK_OBJECT_HANDLE *key),
     (session, mechanism, wrapping, in, in_size, attributes, count, key))
CALL(C_DeriveKey,
     (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
      CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *key),
     (session, mechanism, base, attributes, count, key))
CALL(C_SeedRandom, (CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG size),
     (session, seed, size))
CALL(C_GenerateRandom, (CK_SESSION_HANDLE session, CK_BYTE *random, CK_ULONG size),
     (session, random, size))
CALL(C_GetFunctionStatus, (CK_SESSION_HANDLE session), (session))
CALL(C_CancelFunction, (CK_SESSION_HANDLE session), (session))
