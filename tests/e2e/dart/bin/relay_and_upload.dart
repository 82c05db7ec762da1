/// Uses the gateway as an app would, through nothing but the generated client, and prints what it was told as one JSON
/// document.
///
///     dart relay_and_upload.dart <gateway> <folder of JSON files> <a large file>
library;

import 'dart:convert';
import 'dart:io';
import 'dart:math';

import 'package:http/http.dart' show MultipartFile;
import 'package:tidegate_client/api.dart';

const societe = 'Société Générale des Eaux';
const chunkSize = 256 * 1024;

Future<void> main(List<String> arguments) async {
  final [gateway, folder, large] = arguments;
  final client = ApiClient(basePath: gateway);
  final told = {
    'relay': await relay(FilesApi(client), Directory(folder)),
    'upload': await upload(FileUploadApi(client), File(large)),
  };
  print(jsonEncode(told));
  exit(0);
}

/// Uploads every file of the folder, looks at what is there, reads one back, deletes it.
Future<Map<String, Object?>> relay(FilesApi api, Directory folder) async {
  final sizes = <String, int>{};
  await for (final file in folder.list().where((entry) => entry is File).cast<File>()) {
    final stored = await api.uploadFile(societe, await MultipartFile.fromPath('file', file.path));
    sizes[stored!.filename] = stored.size;
  }
  final societes = (await api.listSocietes())!.societes;
  final before = (await api.listFiles(societe))!.files;
  final status = await api.getStatus();
  final synced = await api.syncSociete(societe);

  final first = before.first;
  final content = await api.downloadFile(societe, first.filename);
  await api.deleteFile(societe, first.filename);
  final after = (await api.listFiles(societe))!.files;

  return {
    'sizes': sizes,
    'societes': societes,
    'files': [for (final file in before) file.toJson()],
    'status': status!.status,
    'synced': synced!.filesCount,
    'downloaded': first.filename,
    'content': content,
    'left': [for (final file in after) file.filename],
    'refusals': [
      await refusalOf(() => api.downloadFile(societe, first.filename)),
      await refusalOf(() => api.uploadFile(societe, MultipartFile.fromString('file', '{"a": }', filename: 'bad.json'))),
    ],
  };
}

/// Uploads the file in chunks, waits until it is assembled, looks for it in the list, deletes it.
Future<Map<String, Object?>> upload(FileUploadApi api, File file) async {
  final session = 'dart-${Random().nextInt(1 << 31)}';
  final bytes = await file.readAsBytes();
  final total = (bytes.length / chunkSize).ceil();
  for (var number = total - 1; number >= 0; number--) {
    final begin = number * chunkSize;
    final piece = bytes.sublist(begin, min(begin + chunkSize, bytes.length));
    await api.uploadChunk(
      MultipartFile.fromBytes('chunk', piece, filename: 'blob'),
      number,
      session,
      fileName: file.uri.pathSegments.last,
      totalChunks: total,
      fileSize: bytes.length,
      userId: 'dart',
    );
  }
  await api.completeUpload(CompleteUpload(sessionId: session));
  var status = (await api.getAssemblyStatus(session))!.status;
  while (status == 'in_progress') {
    await Future<void>.delayed(const Duration(milliseconds: 20));
    status = (await api.getAssemblyStatus(session))!.status;
  }
  bool isOurs(CompletedUpload upload) => upload.sessionId == session;
  final listed = (await api.listCompletedUploads())!.where(isOurs);
  // The tests look at the stored file meanwhile.
  print(jsonEncode({'stored': session}));
  stdin.readLineSync();
  await api.deleteUpload(session);
  final left = (await api.listCompletedUploads())!.where(isOurs);
  return {
    'session': session,
    'status': status,
    'listed': [for (final upload in listed) upload.toJson()],
    'left': left.length,
    'refusals': [await refusalOf(() => api.getAssemblyStatus(session))],
  };
}

Future<Object?> refusalOf(Future<Object?> Function() call) async {
  try {
    await call();
    return null;
  } on ApiException catch (refusal) {
    return {'code': refusal.code, 'body': jsonDecode(refusal.message!)};
  }
}
