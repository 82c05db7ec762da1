/// As much of `package:http` as the generated client uses, over `dart:io`.
library;

import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:math';
import 'dart:typed_data';

class ClientException implements Exception {
  ClientException(this.message, [this.uri]);

  final String message;
  final Uri? uri;

  @override
  String toString() => 'ClientException: $message, uri=$uri';
}

/// Sends requests, over connections that it keeps open.
class Client {
  final _inner = HttpClient();

  Future<StreamedResponse> send(BaseRequest request) async {
    final body = request.finalize();
    try {
      final outgoing = await _inner.openUrl(request.method, request.url);
      outgoing.contentLength = request.contentLength ?? -1;
      request.headers.forEach(outgoing.headers.set);
      await outgoing.addStream(body);
      final response = await outgoing.close();
      final headers = <String, String>{};
      response.headers.forEach((name, values) => headers[name] = values.join(','));
      return StreamedResponse(response, response.statusCode, headers: headers);
    } on HttpException catch (error) {
      throw ClientException(error.message, error.uri);
    }
  }

  void close() => _inner.close(force: true);
}

abstract class BaseRequest {
  BaseRequest(this.method, this.url);

  final String method;
  final Uri url;
  final headers = <String, String>{};

  int? get contentLength;

  Stream<List<int>> finalize();
}

/// A request whose whole body is at hand.
class AbortableRequest extends BaseRequest {
  AbortableRequest(super.method, super.url, {Future<void>? abortTrigger});

  List<int> bodyBytes = const [];

  set body(String text) {
    bodyBytes = utf8.encode(text);
    headers.putIfAbsent('content-type', () => 'text/plain; charset=utf-8');
  }

  set bodyFields(Map<String, String> fields) {
    bodyBytes = utf8.encode(Uri(queryParameters: fields).query);
    headers.putIfAbsent('content-type', () => 'application/x-www-form-urlencoded');
  }

  @override
  int get contentLength => bodyBytes.length;

  @override
  Stream<List<int>> finalize() => Stream.value(bodyBytes);
}

/// A request whose body somebody else writes.
class AbortableStreamedRequest extends BaseRequest {
  AbortableStreamedRequest(super.method, super.url, {Future<void>? abortTrigger});

  final _body = StreamController<List<int>>(sync: true);

  @override
  int? contentLength;

  EventSink<List<int>> get sink => _body.sink;

  @override
  Stream<List<int>> finalize() => _body.stream;
}

/// `multipart/form-data`: all fields first, then all files.
class MultipartRequest extends BaseRequest {
  MultipartRequest(super.method, super.url);

  static final _random = Random();

  final fields = <String, String>{};
  final files = <MultipartFile>[];
  late final _boundary = 'dart-http-boundary-${List.generate(50, (_) => _random.nextInt(36).toRadixString(36)).join()}';

  @override
  int get contentLength {
    var length = utf8.encode('--$_boundary--\r\n').length;
    for (final MapEntry(:key, :value) in fields.entries) {
      length += utf8.encode('--$_boundary\r\n${_fieldHeader(key, value)}$value\r\n').length;
    }
    for (final file in files) {
      length += utf8.encode('--$_boundary\r\n${_fileHeader(file)}').length + file.length + 2;
    }
    return length;
  }

  @override
  Stream<List<int>> finalize() {
    headers['content-type'] = 'multipart/form-data; boundary=$_boundary';
    return _write();
  }

  Stream<List<int>> _write() async* {
    for (final MapEntry(:key, :value) in fields.entries) {
      yield utf8.encode('--$_boundary\r\n${_fieldHeader(key, value)}$value\r\n');
    }
    for (final file in files) {
      yield utf8.encode('--$_boundary\r\n${_fileHeader(file)}');
      yield* file.finalize();
      yield utf8.encode('\r\n');
    }
    yield utf8.encode('--$_boundary--\r\n');
  }

  String _fieldHeader(String name, String value) {
    final ascii = value.codeUnits.every((unit) => unit < 0x80);
    final type = ascii ? '' : 'content-type: text/plain; charset=utf-8\r\ncontent-transfer-encoding: binary\r\n';
    return 'content-disposition: form-data; name="${_escape(name)}"\r\n$type\r\n';
  }

  String _fileHeader(MultipartFile file) {
    final name = file.filename == null ? '' : '; filename="${_escape(file.filename!)}"';
    return 'content-type: application/octet-stream\r\n'
        'content-disposition: form-data; name="${_escape(file.field)}"$name\r\n\r\n';
  }

  /// As browsers do it.
  static String _escape(String text) => text.replaceAll(RegExp(r'\r\n|\r|\n'), '%0D%0A').replaceAll('"', '%22');
}

class AbortableMultipartRequest extends MultipartRequest {
  AbortableMultipartRequest(super.method, super.url, {Future<void>? abortTrigger});
}

class MultipartFile {
  MultipartFile(this.field, this._content, this.length, {this.filename});

  factory MultipartFile.fromBytes(String field, List<int> bytes, {String? filename}) =>
      MultipartFile(field, Stream.value(bytes), bytes.length, filename: filename);

  factory MultipartFile.fromString(String field, String text, {String? filename}) =>
      MultipartFile.fromBytes(field, utf8.encode(text), filename: filename);

  static Future<MultipartFile> fromPath(String field, String path, {String? filename}) async {
    final file = File(path);
    return MultipartFile(field, file.openRead(), await file.length(), filename: filename ?? file.uri.pathSegments.last);
  }

  final String field;
  final int length;
  final String? filename;
  final Stream<List<int>> _content;

  Stream<List<int>> finalize() => _content;
}

class StreamedResponse {
  StreamedResponse(this.stream, this.statusCode, {this.headers = const {}});

  final Stream<List<int>> stream;
  final int statusCode;
  final Map<String, String> headers;
}

class Response {
  Response.bytes(this.bodyBytes, this.statusCode, {this.headers = const {}});

  static Future<Response> fromStream(StreamedResponse response) async {
    final bytes = await response.stream.fold(BytesBuilder(copy: false), (bytes, piece) => bytes..add(piece));
    return Response.bytes(bytes.takeBytes(), response.statusCode, headers: response.headers);
  }

  final List<int> bodyBytes;
  final int statusCode;
  final Map<String, String> headers;

  String get body {
    final type = headers['content-type'] ?? '';
    final isUtf8 = type.startsWith('application/json') || type.toLowerCase().contains('utf-8');
    return isUtf8 ? utf8.decode(bodyBytes) : latin1.decode(bodyBytes);
  }
}
